"""HTTP of A/B tests."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from comfylabel.ab_tests.bucketing import Variant, VariantSettings
from comfylabel.ab_tests.schemas import AbTestAnswer, AssignBody, AssignedAnswer, NewAbTest
from comfylabel.ab_tests.service import AbTestService
from comfylabel.accounts.dependencies import Admin, Anyone
from comfylabel.accounts.schemas import Role
from comfylabel.errors import Forbidden
from comfylabel.http.envelope import Envelope, ok

router = APIRouter(prefix="/api/ab-tests", tags=["ab-tests"])


async def _service(request: Request) -> AbTestService:
    service: AbTestService = request.app.state.ab_tests
    return service


Service = Annotated[AbTestService, Depends(_service)]


@router.get("", response_model=Envelope[list[AbTestAnswer]])
async def list_ab_tests(_admin: Admin, service: Service) -> Response:
    return ok(await service.list_all())


@router.post("", status_code=201, response_model=Envelope[AbTestAnswer])
async def create_ab_test(body: NewAbTest, _admin: Admin, service: Service) -> Response:
    variants = [
        Variant(variant.key, variant.weight, VariantSettings(**variant.settings.model_dump()))
        for variant in body.variants
    ]
    return ok(await service.create(body.name, variants, body.expires_at), status=201)


@router.post("/assign", response_model=Envelope[AssignedAnswer])
async def assign(body: AssignBody, principal: Anyone, service: Service) -> Response:
    """The variant of a person, the same one for ever. Admins may ask for anyone, others for themselves."""
    user_id = body.user_id or principal.user_id
    if user_id != principal.user_id and principal.role is not Role.ADMIN:
        raise Forbidden("Only an admin may assign somebody else.")
    return ok({"variant": await service.assign(body.test_name, user_id)})
