"""Object stores: one way to look at, read, write and delete what lies under a URL such as s3://bucket/key."""
