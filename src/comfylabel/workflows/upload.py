"""Reading an upload's two parts without ever holding more than the limit."""

from collections.abc import AsyncGenerator, AsyncIterator

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from comfylabel.errors import InvalidField, InvalidInput, TooLarge

# The largest published workflow has 0.4 MB.
MAX_FILE_BYTES = 10 * 2**20
_MAX_METADATA_BYTES = 2**20
# Both parts, and what multipart puts around them.
_MAX_BODY_BYTES = MAX_FILE_BYTES + _MAX_METADATA_BYTES + 2**16


async def read_upload(headers: Headers, body: AsyncIterator[bytes]) -> tuple[bytes, bytes]:
    """(workflow file, metadata); stops reading at the limit, whatever the headers promised."""
    if "multipart/form-data" not in headers.get("content-type", ""):
        raise InvalidInput("Send the workflow as multipart/form-data.", code="not_multipart")
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > _MAX_BODY_BYTES:
        raise _too_large()
    parser = MultiPartParser(headers, _limited(body), max_files=2, max_fields=2, max_part_size=MAX_FILE_BYTES)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidInput(f"The upload cannot be read: {error.message}", code="not_multipart") from error
    try:
        parts = {name: await _bytes_of(value) for name, value in form.multi_items()}
    finally:
        await form.close()
    for name in ("workflow", "metadata"):
        if name not in parts:
            raise InvalidField(name, "is required: a part of the upload")
    if len(parts["workflow"]) > MAX_FILE_BYTES or len(parts["metadata"]) > _MAX_METADATA_BYTES:
        raise _too_large()
    return parts["workflow"], parts["metadata"]


async def _limited(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in body:
        received += len(chunk)
        if received > _MAX_BODY_BYTES:
            raise _too_large()
        yield chunk


async def _bytes_of(value: UploadFile | str) -> bytes:
    return value.encode() if isinstance(value, str) else await value.read()


def _too_large() -> TooLarge:
    return TooLarge(f"A workflow file may have at most {MAX_FILE_BYTES // 2**20} MB.")
