"""Datasets, their records and their files: contract section 6."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant
from api.chatbotkit.answers import CSV, also_answers, answer, returns
from api.chatbotkit.files import show_files
from api.chatbotkit.lists import ListPart, as_export, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_files import FileAnswer
from api.chatbotkit.shapes_knowledge import (
    AttachRequest,
    DatasetAnswer,
    DatasetRequest,
    DetachRequest,
    RecordAnswer,
    RecordRequest,
    SearchAnswer,
    SearchRequest,
    SyncAnswer,
)
from api.once import Route
from core import dataset_files, datasets
from core.documents_knowledge import dataset_document, match_document, record_document
from core.searching import search_dataset
from core.sync_jobs import create_sync_job

router = APIRouter(prefix="/dataset", tags=["dataset"], route_class=Route)

CONFIG = {name: name for name in datasets.CONFIG}
RECORD = {"text": "text", "source": "source", "meta": "meta"}


def _fields(body: DatasetRequest) -> dict[str, Any]:
    return {**body.given(datasets.FIELDS), "config": body.given(CONFIG)}


@router.post("/create", responses=returns(Identified))
def create_dataset(session: Tenant, body: DatasetRequest) -> JSONResponse:
    """A new dataset."""
    return answer({"id": str(datasets.create_dataset(session, store=body.store, **_fields(body)).id)})


@router.get("/list", responses=pages(DatasetAnswer))
@as_list
def list_datasets(part: ListPart) -> Response:
    """The account's datasets, newest first."""
    return listed(part, datasets.list_datasets, each(dataset_document))


@router.get("/{datasetId}/fetch", responses=returns(DatasetAnswer))
def fetch_dataset(session: Tenant, datasetId: str) -> JSONResponse:
    """A dataset."""
    return answer(dataset_document(datasets.get_dataset(session, datasetId)))


@router.post("/{datasetId}/update", responses=returns(Identified))
def update_dataset(session: Tenant, datasetId: str, body: DatasetRequest) -> JSONResponse:
    """Changes the fields that are sent; null clears, meta is merged."""
    return answer({"id": str(datasets.update_dataset(session, datasetId, **_fields(body)).id)})


@router.post("/{datasetId}/delete", responses=returns(Identified))
def delete_dataset(session: Tenant, datasetId: str) -> JSONResponse:
    """Removes the dataset with its records; bots and conversations lose their link to it."""
    return answer({"id": str(datasets.delete_dataset(session, datasetId))})


@router.post("/{datasetId}/search", responses=returns(SearchAnswer))
def search(session: Tenant, datasetId: str, body: SearchRequest) -> JSONResponse:
    """The records that have most of the words, best first."""
    dataset, found = search_dataset(session, datasetId, body.search, body.filter)
    return answer({"id": str(dataset.id), "records": [match_document(match) for match in found]})


@router.post("/{datasetId}/record/create", responses=returns(Identified))
def create_record(session: Tenant, datasetId: str, body: RecordRequest) -> JSONResponse:
    """A new record."""
    return answer({"id": str(datasets.create_record(session, datasetId, **body.given(RECORD)).id)})


@router.get("/{datasetId}/record/list", responses=pages(RecordAnswer))
@as_list
def list_records(datasetId: str, part: ListPart) -> Response:
    """The records of a dataset, newest first."""
    return listed(part, partial(datasets.list_records, dataset_id=datasetId), each(record_document))


@router.get("/{datasetId}/record/export", responses=pages(RecordAnswer, CSV))
@as_export
def export_records(datasetId: str, part: ListPart) -> Response:
    """The same, also as CSV."""
    return listed(part, partial(datasets.list_records, dataset_id=datasetId), each(record_document))


@router.get("/{datasetId}/record/{recordId}/fetch", responses=returns(RecordAnswer))
def fetch_record(session: Tenant, datasetId: str, recordId: str) -> JSONResponse:
    """A record."""
    return answer(record_document(datasets.get_record(session, datasetId, recordId)))


@router.post("/{datasetId}/record/{recordId}/update", responses=returns(Identified))
def update_record(session: Tenant, datasetId: str, recordId: str, body: RecordRequest) -> JSONResponse:
    """Changes the fields that are sent; meta is merged."""
    record = datasets.update_record(session, datasetId, recordId, **body.given(RECORD))
    return answer({"id": str(record.id)})


@router.post("/{datasetId}/record/{recordId}/delete", responses=returns(Identified))
def delete_record(session: Tenant, datasetId: str, recordId: str) -> JSONResponse:
    """Removes the record for good."""
    return answer({"id": str(datasets.delete_record(session, datasetId, recordId))})


@router.get("/{datasetId}/file/list", responses=pages(FileAnswer))
@as_list
def list_dataset_files(datasetId: str, part: ListPart) -> Response:
    """The files attached to a dataset, newest first."""
    return listed(part, partial(dataset_files.list_dataset_files, dataset_id=datasetId), show_files)


@router.post("/{datasetId}/file/{fileId}/attach", responses=returns(Identified))
def attach_file(
    session: Tenant, datasetId: str, fileId: str, body: AttachRequest | None = None
) -> JSONResponse:
    """Links a file to the dataset; sync makes its records."""
    kind = body.type if body else None
    return answer({"id": str(dataset_files.attach_file(session, datasetId, fileId, kind).id)})


@router.post("/{datasetId}/file/{fileId}/detach", responses=returns(Identified))
def detach_file(
    session: Tenant, datasetId: str, fileId: str, body: DetachRequest | None = None
) -> JSONResponse:
    """Takes the link away; the records made of the file stay unless deleteRecords says otherwise."""
    also = bool(body and body.deleteRecords)
    file = dataset_files.detach_file(session, datasetId, fileId, delete_records=also)
    return answer({"id": str(file.id)})


@router.post("/{datasetId}/file/{fileId}/sync", responses=returns(SyncAnswer))
@also_answers(409)
def sync_dataset_file(session: Tenant, datasetId: str, fileId: str) -> JSONResponse:
    """Makes the file's records anew, by a job. 409 when a thousand are unfinished."""
    job = create_sync_job(session, datasetId, fileId)
    return answer({"id": str(job.file_id), "jobId": str(job.id)})
