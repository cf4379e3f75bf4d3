"""The stream: a folder is watched for weeks, every image is handled as it arrives, and none is lost."""
