"""Labelled images: from folders, CSV files, parquet files or tensors, and built-in sets."""

from underfire.data.builtin import Digits
from underfire.data.class_map import read_class_map
from underfire.data.csv_data import CsvData
from underfire.data.dataset import Batch, ImageData, Record
from underfire.data.folder import FolderData
from underfire.data.parquet import ParquetData
from underfire.data.photographs import Photographs
from underfire.data.prepare import prepare
from underfire.data.relabelled import RelabelledData, in_classifier_order
from underfire.data.resizing import Resizing
from underfire.data.scenes import Scenes
from underfire.data.sources import open_data
from underfire.data.tensors import TensorData

__all__ = [
    "Batch",
    "CsvData",
    "Digits",
    "FolderData",
    "ImageData",
    "ParquetData",
    "Photographs",
    "Record",
    "RelabelledData",
    "Resizing",
    "Scenes",
    "TensorData",
    "in_classifier_order",
    "open_data",
    "prepare",
    "read_class_map",
]
