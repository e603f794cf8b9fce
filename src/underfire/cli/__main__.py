from underfire.cli import main

main()
