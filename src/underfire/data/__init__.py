"""Labelled images from folders, tables, parquet files, tensors, or the package itself."""

from underfire.data.builtin import Digits
from underfire.data.dataset import Batch, ImageData, Record
from underfire.data.folder import CsvData, FolderData
from underfire.data.parquet import ParquetData
from underfire.data.prepare import prepare
from underfire.data.sources import open_data
from underfire.data.tensors import TensorData

__all__ = [
    "Batch",
    "CsvData",
    "Digits",
    "FolderData",
    "ImageData",
    "ParquetData",
    "Record",
    "TensorData",
    "open_data",
    "prepare",
]
