"""Performs the actions on buckets and objects.

A put writes the file first and then, in one transaction, the row in the place of the one before; the old file goes after that. So a
crash leaves at most a file that nobody knows, and an object is always one or the other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from ...actions import (
    ComposeObject,
    DeleteBucket,
    DeleteObjects,
    GetBucket,
    GetObject,
    HeadObject,
    ListBuckets,
    ListObjects,
    Page,
    Performers,
    PutBucket,
    PutObject,
)
from ...clock import Clock
from ...errors import BadInput, Conflict, DayflyError, NameInvalid, NotFound
from ...model.bucket import ABOVE, KEY_BYTES, METADATA_BYTES, Bucket, Download, Listing, Object, valid_bucket, valid_key
from ...store.port import Row, Store
from .blobs import Blobs, Source, Take, Written

MOST = 1000  # objects that are listed or deleted at once
_json = msgspec.json.Decoder(dict[str, str]).decode


class Buckets:
    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        exists: Callable[[str], bool],
        claim: Callable[[str], AbstractContextManager[Take]],
        stored: Counter[str],
    ) -> None:
        """`exists(namespace)`; `claim(namespace)` is a block in which bytes are claimed of its quota; `stored` counts bytes by
        namespace."""
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._exists = exists
        self._claim = claim
        self._stored = stored

    def performers(self) -> Performers:
        """Who performs which action."""
        return {
            PutBucket: self.put_bucket,
            GetBucket: self.get_bucket,
            ListBuckets: self.list_buckets,
            DeleteBucket: self.delete_bucket,
            PutObject: self.put,
            ComposeObject: self.compose,
            HeadObject: self.head,
            GetObject: self.get,
            ListObjects: self.list,
            DeleteObjects: self.delete,
        }

    async def open(self) -> None:
        """Count, and clear away what was written and never acknowledged."""
        await asyncio.to_thread(self._blobs.open)
        self._stored.update(dict(await self._store.fetch("objects_sizes")))
        for shard, names in await asyncio.to_thread(lambda: list(self._blobs.shards())):
            known = await self._store.fetch("objects_versions", first=shard, last=shard + "g")
            await self._blobs.remove(names - {version for (version,) in known})

    # --- buckets --------------------------------------------------------------------------------------------------------

    async def put_bucket(self, action: PutBucket) -> Bucket:
        if not valid_bucket(action.name):
            raise NameInvalid(
                f"{action.name[:100]!r} is not a name for a bucket",
                hint="Use 3 to 63 lower-case letters, digits, dots and dashes, beginning and ending with a letter or digit.",
            )
        if not self._exists(action.namespace):
            raise NotFound(f"there is no namespace {action.namespace[:100]!r}", hint="See: dayfly namespace ls")
        known = await self._store.fetch("bucket_get", namespace=action.namespace, name=action.name)
        if known and action.new:
            raise Conflict(f"there is a bucket {action.name} already")
        bucket = Bucket(
            namespace=action.namespace,
            name=action.name,
            labels=action.labels,
            created=known[0][1] if known else self._clock.now(),
        )
        await self._store.commit(
            ("bucket_put", msgspec.structs.asdict(bucket) | {"labels": msgspec.json.encode(action.labels)})
        )
        return bucket

    async def get_bucket(self, action: GetBucket) -> Bucket:
        return await self._bucket(action.namespace, action.name)

    async def list_buckets(self, action: ListBuckets) -> Page[Bucket]:
        rows = await self._store.fetch("buckets_list", namespace=action.namespace, prefix=action.prefix)
        return Page(
            items=tuple(
                Bucket(namespace=action.namespace, name=name, labels=_json(labels), created=created)
                for name, labels, created in rows
                if action.prefix.startswith(".") or not name.startswith(".")
            )
        )

    async def delete_bucket(self, action: DeleteBucket) -> None:
        await self._bucket(action.namespace, action.name)
        [effect] = await self._store.commit(("bucket_delete", {"namespace": action.namespace, "name": action.name}))
        if not effect.written:
            raise Conflict(f"there are objects in the bucket {action.name}", hint="Delete them first.")

    async def _bucket(self, namespace: str, name: str) -> Bucket:
        rows = await self._store.fetch("bucket_get", namespace=namespace, name=name)
        if not rows:
            raise NotFound(f"there is no bucket {name[:100]!r} in {namespace}", hint="See: dayfly bucket ls", bucket=name[:100])
        return Bucket(namespace=namespace, name=name, labels=_json(rows[0][0]), created=rows[0][1])

    # --- objects --------------------------------------------------------------------------------------------------------

    async def put(self, action: PutObject) -> Object:
        await self._check(action)
        with self._claim(action.namespace) as take:
            written = await self._blobs.write(action.body, take)
            if action.md5 and action.md5 != written.md5:
                await self._blobs.remove([written.version])
                raise BadInput("the bytes that came are not those whose MD5 was given", field="md5")
            return await asyncio.shield(self._keep(action, written, written.md5))

    async def compose(self, action: ComposeObject) -> Object:
        await self._check(action)
        sources = []
        for bucket, key in action.sources:
            found = await self._find(action.namespace, bucket, key)
            start = min(action.start, found.size) if len(action.sources) == 1 else 0
            length = found.size - start
            if len(action.sources) == 1 and action.length >= 0:
                length = min(length, action.length)
            sources.append(Source(found.version, start, length))
        with self._claim(action.namespace) as take:
            try:
                written = await self._blobs.compose(sources, take)
            except FileNotFoundError:
                raise Conflict("a source was deleted or replaced meanwhile", hint="Try again.") from None
            return await asyncio.shield(self._keep(action, written, action.etag or written.md5))

    async def head(self, action: HeadObject) -> Object:
        return await self._find(action.namespace, action.name, action.key)

    async def get(self, action: GetObject) -> Download:
        while True:
            found = await self._find(action.namespace, action.name, action.key)
            try:
                file = self._blobs.reader(found.version)
            except FileNotFoundError:  # replaced or deleted just now
                if (await self._find(action.namespace, action.name, action.key)).version == found.version:
                    raise
                continue
            start = max(0, found.size + action.start) if action.start < 0 else min(action.start, found.size)
            length = found.size - start
            if action.length >= 0:
                length = min(length, action.length)
            return Download(found, start, length, self._blobs.read(file, start, length))

    async def list(self, action: ListObjects) -> Listing:
        await self._bucket(action.namespace, action.name)
        limit = min(max(0, action.limit), MOST)
        items: list[Object] = []
        folders: list[str] = []
        after = action.cursor
        behind = after[len(action.prefix) :] if after.startswith(action.prefix) else ""
        if action.delimiter and behind.endswith(action.delimiter):
            after += ABOVE  # a folder that was told of
        while True:
            wanted = limit - len(items) - len(folders) + 1
            rows = await self._store.fetch(
                "objects_list", namespace=action.namespace, bucket=action.name, after=after, prefix=action.prefix, limit=wanted
            )
            for row in rows:
                if len(items) + len(folders) == limit:
                    last = max(items[-1].key if items else "", folders[-1] if folders else "")
                    return Listing(items=tuple(items), folders=tuple(folders), cursor=last)
                key = row[0]
                at = key.find(action.delimiter, len(action.prefix)) if action.delimiter else -1
                if at >= 0:
                    folders.append(key[: at + len(action.delimiter)])
                    after = folders[-1] + ABOVE
                    break  # all behind it is told of by this
                items.append(_object(action.namespace, action.name, row))
                after = key
            else:
                if len(rows) < wanted:
                    return Listing(items=tuple(items), folders=tuple(folders))

    async def delete(self, action: DeleteObjects) -> int:
        await self._bucket(action.namespace, action.name)
        if len(action.keys) > MOST:
            raise BadInput(f"at most {MOST} objects can be deleted at once")
        if not action.keys:
            return 0
        effects = await self._store.commit(
            *(("object_delete", {"namespace": action.namespace, "bucket": action.name, "key": key}) for key in action.keys)
        )
        gone = [row for effect in effects for row in effect.rows]
        await self._gone(action.namespace, gone)
        return len(gone)

    def forget(self, namespace: str, versions: Iterable[str]) -> None:
        """The namespace is gone, and with it what the store knew of these versions."""
        self._stored.pop(namespace, None)
        self._removing = asyncio.ensure_future(self._blobs.remove(list(versions)))

    async def _check(self, action: PutObject | ComposeObject) -> None:
        if not valid_key(action.key):
            raise NameInvalid(
                f"{action.key[:100]!r} is not a key for an object", hint=f"Use 1 to {KEY_BYTES} bytes of text without NUL."
            )
        if sum(len(name.encode()) + len(value.encode()) for name, value in action.metadata.items()) > METADATA_BYTES:
            raise BadInput(f"the metadata of an object may have {METADATA_BYTES} bytes")
        await self._bucket(action.namespace, action.name)

    async def _find(self, namespace: str, bucket: str, key: str) -> Object:
        rows = await self._store.fetch("object_get", namespace=namespace, bucket=bucket, key=key)
        if not rows:
            await self._bucket(namespace, bucket)
            raise NotFound(f"there is no object {key[:100]!r} in {bucket}", key=key[:100])
        return _object(namespace, bucket, rows[0])

    async def _keep(self, action: PutObject | ComposeObject, written: Written, etag: str) -> Object:
        """Let the store know of what was written. Not to be cancelled in the middle."""
        made = Object(
            namespace=action.namespace,
            bucket=action.name,
            key=action.key,
            version=written.version,
            size=written.size,
            etag=etag,
            content_type=action.content_type,
            metadata=action.metadata,
            modified=self._clock.now(),
        )
        row = msgspec.structs.asdict(made) | {"metadata": msgspec.json.encode(action.metadata)}
        at = {"namespace": action.namespace, "bucket": action.name, "key": action.key}
        first: tuple[str, dict[str, str]] = ("bucket_there", at)
        if action.expect is not None:
            first = ("bucket_there_expecting", at | {"expect": action.expect})
        try:
            effects = await self._store.commit(first, ("object_delete", at), ("object_put", row), fenced=True)
            if len(effects) == 1:
                await self._bucket(action.namespace, action.name)
                raise Conflict(f"the object {action.key[:100]!r} is another one than was expected", expect=action.expect)
        except DayflyError:
            await self._blobs.remove([written.version])
            raise
        self._stored[action.namespace] += written.size
        await self._gone(action.namespace, effects[1].rows)
        return made

    async def _gone(self, namespace: str, rows: Sequence[Row]) -> None:
        self._stored[namespace] -= sum(size for _, size in rows)
        if rows:
            await self._blobs.remove(version for version, _ in rows)


def _object(namespace: str, bucket: str, row: tuple[Any, ...]) -> Object:
    key, version, size, etag, content_type, metadata, modified = row
    return Object(
        namespace=namespace,
        bucket=bucket,
        key=key,
        version=version,
        size=size,
        etag=etag,
        content_type=content_type,
        metadata=_json(metadata),
        modified=modified,
    )
