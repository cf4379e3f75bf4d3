"""Errors of S3 and of fsspec in tierflow's words: one place for both."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tierflow.errors import ConfigError, TierflowError, TryAgainError
from tierflow.tiers.base import ChangedError, CopyError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "NotSignedUp",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
        "XAdminUserNotFound",
    }
)
_PLACE = frozenset({"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "301"})
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "403", "AccountProblem"})
_ABSENT = frozenset({"NoSuchKey", "NotFound", "404"})
_TAKEN = frozenset({"PreconditionFailed", "412"})
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "XMinioBucketQuotaExceeded", "EntityTooLargeForQuota"})
_PASSING = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_OWN = {
    "KeyTooLongError": "its path is too long for the store: choose a shorter `root` for the tier",
    "EntityTooLarge": "it is larger than the store takes: choose another `root` for the tier",
    "InvalidObjectState": "it lies in an archive class: restore it there first, then run again",
    "ObjectParentIsFile": "the store holds an object where a folder of this path would be: choose another `root`",
}
_AGAIN = "run again: what was done so far is kept and the rest follows"


@contextmanager
def s3_errors(url: str, verb: str) -> Iterator[None]:
    """Map what botocore raises while the body runs.

    Args:
        url: The key.
        verb: What is done, such as `read`.

    Raises:
        ConfigError: wrong credentials, bucket, region, storage class, or no permission.
        TryAgainError: network, 5xx, throttling, full store.
        FileNotFoundError: no such key or upload.
        FileExistsError: the key is taken, or isn't the one that was looked at.
        ChangedError: the bytes that arrived aren't those with the checksum.
        CopyError: anything else, which is this key's own.
    """
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _of_answer(url, verb, error.response) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise ConfigError(
            f"can't {verb} {url}: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except (exceptions.CredentialRetrievalError, exceptions.TokenRetrievalError, exceptions.SSOError) as error:
        raise ConfigError(f"can't {verb} {url}: {error}; sign in again or set other credentials") from error
    except (exceptions.NoRegionError, exceptions.ProfileNotFound, exceptions.ParamValidationError) as error:
        raise ConfigError(f"can't {verb} {url}: {error}; check the AWS_* variables and the tier's settings") from error
    except (exceptions.SSLError, exceptions.InvalidProxiesConfigError) as error:
        raise ConfigError(f"can't {verb} {url}: {error}; check AWS_ENDPOINT_URL, AWS_CA_BUNDLE and proxies") from error
    except exceptions.BotoCoreError as error:
        raise TryAgainError(f"can't {verb} {url}: {error}; see that the store can be reached, then {_AGAIN}") from error
    except TierflowError:
        raise
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        raise TryAgainError(f"can't {verb} {url}: {error}; see that the store can be reached, then {_AGAIN}") from error


def _of_answer(url: str, verb: str, response: dict[str, Any]) -> Exception:
    told = response.get("Error", {})
    code, message = str(told.get("Code", "")), str(told.get("Message", "")).rstrip(".")
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"can't {verb} {url}: "
    if code in _OWN:
        return CopyError(text + _OWN[code])
    if code == "NoSuchBucket":
        return ConfigError(f"{text}there is no such bucket; create it, or mend the URL or AWS_ENDPOINT_URL")
    if code in _CREDENTIALS:
        return ConfigError(f"{text}the store doesn't know these credentials ({code}); check AWS_* or the profile")
    if code in _PLACE or status == 301:
        return ConfigError(f"{text}the bucket is in another region ({message}); set AWS_DEFAULT_REGION to it")
    if code in _DENIED or status == 403:
        return ConfigError(f"{text}access denied; {_permission(verb)}")
    if code in {"InvalidStorageClass", "InvalidTag"}:
        return ConfigError(f"{text}{message} ({code}); mend `storage_class` or `tags` of the tier")
    if code == "NotImplemented":
        return ConfigError(f"{text}the store doesn't know how ({message}); for stores without tags set `tags: null`")
    if code in _ABSENT or code == "NoSuchUpload":
        return FileNotFoundError(errno.ENOENT, f"{url} isn't there")
    if code in _TAKEN or status == 412:
        return FileExistsError(errno.EEXIST, f"{url} is taken")
    if code in {"BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest"}:
        return ChangedError(f"{url}: other bytes arrived than were sent ({code}): {_AGAIN}")
    if code in _FULL or status == 507:
        return TryAgainError(f"{text}the store is full or the quota is used up; make room there, then {_AGAIN}")
    if code in _PASSING or status >= 500 or status == 429:
        return TryAgainError(f"{text}the store is overloaded or away ({code} {message}); wait, then {_AGAIN}")
    return CopyError(f"{text}the store refuses it ({code or status}: {message}): mend that and run again")


def _permission(verb: str) -> str:
    needed = {
        "write": "s3:PutObject, s3:PutObjectTagging and s3:AbortMultipartUpload on the keys",
        "remove": "s3:DeleteObject on the keys",
        "list": "s3:ListBucket and s3:ListBucketMultipartUploads on the bucket",
    }.get(verb, "s3:GetObject on the keys and s3:ListBucket on the bucket")
    return f"give these credentials {needed}"


@contextmanager
def general_errors(url: str, verb: str) -> Iterator[None]:
    """Map what fsspec's file systems raise while the body runs: `OSError` and errors of their libraries.

    Raises:
        ConfigError: no permission or wrong credentials.
        TryAgainError: everything else that is not about one key.
        FileNotFoundError: no such key.
        FileExistsError: the key is taken.
    """
    try:
        yield
    except (TierflowError, FileNotFoundError, FileExistsError):
        raise
    except PermissionError as error:
        raise ConfigError(f"can't {verb} {url}: access denied ({error}); give these credentials access") from error
    except Exception as error:  # Each library has its own tree; what isn't known is safest to be tried again.
        raise TryAgainError(f"can't {verb} {url}: {error}; see that the store can be reached, then {_AGAIN}") from error
