"""Your own images in folders (MVTec layout, or normal/ and abnormal/): give --config.data.root=FOLDER."""

from semi_anogan.config import default_config


def get_config():
    config = default_config()
    config.name = "folder"
    config.data.name = "folder"
    return config
