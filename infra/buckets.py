"""Creates buckets on an S3 server, and leaves alone those that are there: python buckets.py ENDPOINT NAME...

Each is written to once: the first write to a new bucket of SeaweedFS waits until volumes are made.
"""

from __future__ import annotations

import sys

import boto3
from botocore.exceptions import ClientError

HERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def create(endpoint_url: str, names: list[str]) -> None:
    """Have a bucket of each name."""
    client = boto3.client("s3", endpoint_url=endpoint_url)
    for name in names:
        try:
            client.create_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in HERE:
                raise
        client.put_object(Bucket=name, Key=".first-write", Body=b"")
        client.delete_object(Bucket=name, Key=".first-write")
        print(f"bucket {name}")


if __name__ == "__main__":
    create(sys.argv[1], sys.argv[2:])
