"""Output files: names, cache, GET /view, uploads."""

import json

import aiohttp
import pytest
import pyvips

from tests.support.served import Served, nonce
from tests.support.simulator import failing, model_free, node

PNG = b"\x89PNG\r\n\x1a\n"


async def saved(server: Served, **options: object) -> dict[str, str]:
    entry = await server.run(model_free(nonce(), **options))  # type: ignore[arg-type]  # the options of model_free
    image: dict[str, str] = entry["outputs"]["9"]["images"][0]
    return image


async def test_a_batch_has_consecutive_names_in_order(server: Served):
    prefix = f"tests/{nonce()}/batch"
    entry = await server.run(model_free(nonce(), batch_size=4, prefix=prefix))
    folder = prefix.rpartition("/")[0]
    assert entry["outputs"]["9"]["images"] == [
        {"filename": f"batch_0000{number}_.png", "subfolder": folder, "type": "output"} for number in (1, 2, 3, 4)
    ]
    following = await server.run(model_free(nonce(), prefix=prefix))
    assert following["outputs"]["9"]["images"][0]["filename"] == "batch_00005_.png"


async def test_previews_are_temporary(server: Served):
    graph = {"1": model_free(nonce())["1"], "2": node("PreviewImage", images=["1", 0])}
    (image,) = (await server.run(graph))["outputs"]["2"]["images"]
    assert (image["type"], image["subfolder"]) == ("temp", "")
    assert image["filename"].startswith("ComfyUI_temp_")


async def test_the_server_fills_in_some_placeholders(server: Served):
    image = await saved(server, prefix=f"tests/{nonce()}/%width%x%height%-%seed%-%date:yyyy%")
    assert image["filename"] == "64x64-%seed%-%date:yyyy%_00001_.png"


@pytest.mark.parametrize("prefix", ["../up", "/abs"])
async def test_a_prefix_that_leads_out_fails_when_it_saves(server: Served, prefix: str):
    entry = await server.run(model_free(nonce(), prefix=prefix))
    assert entry["status"]["messages"][-1][0] == "execution_error"
    assert entry["outputs"] == {}


async def test_the_same_graph_again_lists_the_same_files(server: Served):
    graph = model_free(nonce())
    first, second = await server.run(graph, client_id="me"), await server.run(graph, client_id="me")
    assert second["outputs"] == first["outputs"]
    cached = dict(second["status"]["messages"])["execution_cached"]["nodes"]
    assert set(cached) == {"1", "9"}


async def test_the_same_graph_again_lists_nothing_when_no_client_is_named(server: Served):
    graph = model_free(nonce())
    await server.run(graph)
    second = await server.run(graph)
    assert (second["status"]["status_str"], second["outputs"]) == ("success", {})


async def test_another_prefix_runs_the_save_node_only(server: Served):
    color = nonce()
    await server.run(model_free(color, prefix="tests/one"))
    second = await server.run(model_free(color, prefix="tests/two"))
    assert dict(second["status"]["messages"])["execution_cached"]["nodes"] == ["1"]
    assert second["outputs"]["9"]["images"][0]["filename"].startswith("two")


async def test_the_cache_is_emptied_on_request(server: Served):
    graph = model_free(nonce())
    first = await server.run(graph)
    answer = await server.post("/free", {"unload_models": True, "free_memory": True})
    assert (answer.status, answer.body) == (200, b"")
    assert (await server.run(graph))["outputs"] != first["outputs"]


async def test_freeing_needs_a_body(server: Served):
    assert (await server.ask("POST", "/free")).status == 500


async def test_a_failed_node_is_tried_again(server: Served):
    graph = failing("value_error", nonce=nonce())
    first, second = await server.run(graph, client_id="me"), await server.run(graph, client_id="me")
    assert second["status"]["messages"][-1][0] == "execution_error"
    assert set(dict(second["status"]["messages"])["execution_cached"]["nodes"]) == {"1", "10"}
    assert second["outputs"] == first["outputs"]


async def test_equal_save_nodes_share_a_file(server: Served):
    graph = model_free(nonce())
    graph["10"] = graph["9"]
    outputs = (await server.run(graph, client_id="me"))["outputs"]
    assert outputs["9"]["images"] == outputs["10"]["images"]


async def test_a_deleted_file_is_still_listed_and_its_name_is_taken_again(server: Served):
    prefix = f"tests/{nonce()}/gone"
    graph = model_free(nonce(), prefix=prefix)
    (image,) = (await server.run(graph))["outputs"]["9"]["images"]
    server.delete_output(image)
    assert (await server.run(graph, client_id="me"))["outputs"]["9"]["images"] == [image]
    assert (await server.get("/view", params=image)).status == 404
    other = await server.run(model_free(nonce(), prefix=prefix))
    assert other["outputs"]["9"]["images"] == [image]


async def test_a_file_as_it_was_stored(server: Served):
    image = await saved(server, size=96)
    answer = await server.get("/view", params=image)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == f'filename="{image["filename"]}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Cache-Control" not in answer.headers
    assert answer.body.startswith(PNG)
    picture = pyvips.Image.new_from_buffer(answer.body, "")
    assert (picture.width, picture.height, picture.bands) == (96, 96, 3)


async def test_a_file_holds_the_graph(server: Served):
    graph = model_free(nonce())
    extra = {"extra_pnginfo": {"workflow": {"id": "drawn"}}}
    (image,) = (await server.run(graph, extra_data=extra))["outputs"]["9"]["images"]
    body = (await server.get("/view", params=image)).body
    assert b"tEXtprompt\0" + json.dumps(graph).encode() in body
    assert b'tEXtworkflow\0{"id": "drawn"}' in body


async def test_the_output_folder_is_the_default(server: Served):
    image = await saved(server)
    short = {"filename": image["filename"], "subfolder": image["subfolder"]}
    assert (await server.get("/view", params=short)).status == 200
    assert (await server.get("/view", params=short | {"type": "temp"})).status == 404


async def test_a_suffix_names_the_folder(server: Served):
    graph = {"1": model_free(nonce())["1"], "2": node("PreviewImage", images=["1", 0])}
    (image,) = (await server.run(graph))["outputs"]["2"]["images"]
    assert (await server.get("/view", params={"filename": image["filename"] + " [temp]"})).status == 200
    assert (await server.get("/view", params={"filename": image["filename"] + " [output]"})).status == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 404),
        ({"filename": "nope.png"}, 404),
        ({"filename": "nope.png", "subfolder": "nosuchfolder"}, 404),
        ({"filename": "nope.png", "type": "bogus"}, 400),
        ({"filename": "../x.png"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "nope.png", "subfolder": "../.."}, 403),
    ],
    ids=str,
)
async def test_what_cannot_be_viewed(server: Served, query: dict[str, str], status: int):
    answer = await server.get("/view", params=query)
    assert (answer.status, answer.body) == (status, b"")


async def test_a_file_that_has_not_changed_is_not_sent_again(server: Served):
    image = await saved(server)
    headers = (await server.get("/view", params=image)).headers
    for name, value in (("If-None-Match", headers["ETag"]), ("If-Modified-Since", headers["Last-Modified"])):
        answer = await server.get("/view", params=image, headers={name: value})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", headers["ETag"])


async def test_a_part_of_a_file(server: Served):
    image = await saved(server)
    whole = (await server.get("/view", params=image)).body
    answer = await server.get("/view", params=image, headers={"Range": "bytes=2-9"})
    assert (answer.status, answer.body) == (206, whole[2:10])
    assert answer.headers["Content-Range"] == f"bytes 2-9/{len(whole)}"


async def test_the_head_of_a_file(server: Served):
    image = await saved(server)
    whole = await server.get("/view", params=image)
    answer = await server.ask("HEAD", "/view", params=image)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(whole.body))
    assert answer.headers["ETag"] == whole.headers["ETag"]


@pytest.mark.parametrize(
    ("preview", "content_type"), [("webp;90", "image/webp"), ("jpeg;50", "image/jpeg"), ("png", "image/webp")]
)
async def test_previews_are_made_anew(server: Served, preview: str, content_type: str):
    image = await saved(server)
    answer = await server.get("/view", params=image | {"preview": preview})
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    assert "ETag" not in answer.headers
    assert pyvips.Image.new_from_buffer(answer.body, "").width == 64


@pytest.mark.parametrize(("channel", "bands"), [("rgb", 3), ("a", 4)])
async def test_channels(server: Served, channel: str, bands: int):
    image = await saved(server)
    answer = await server.get("/view", params=image | {"channel": channel})
    assert answer.headers["Content-Type"] == "image/png"
    assert pyvips.Image.new_from_buffer(answer.body, "").bands == bands
    assert b"tEXtprompt" not in answer.body


def upload(content: bytes | None, **fields: str) -> aiohttp.FormData:
    form = aiohttp.FormData(fields)
    if content is not None:
        form.add_field("image", content, filename="in.png", content_type="image/png")
    return form


async def test_uploads_never_overwrite_unasked(server: Served):
    subfolder = f"tests{nonce()}"
    red, blue = (pyvips.Image.black(8, 8, bands=3).invert().linear(k, 0).pngsave_buffer() for k in (0.2, 0.9))
    names = []
    for content, more in ((red, {}), (red, {}), (blue, {}), (blue, {"overwrite": "true"})):
        answer = await server.ask("POST", "/upload/image", data=upload(content, subfolder=subfolder, **more))
        assert answer.status == 200
        assert answer.json["subfolder"] == subfolder
        assert answer.json["type"] == "input"
        names.append(answer.json["name"])
    assert names == ["in.png", "in.png", "in (1).png", "in.png"]


async def test_an_upload_can_be_loaded(server: Served):
    content = pyvips.Image.black(8, 8, bands=3).linear(1, [200, 100, 50]).cast("uchar").pngsave_buffer()
    subfolder = f"tests{nonce()}"
    await server.ask("POST", "/upload/image", data=upload(content, subfolder=subfolder))
    graph = {
        "1": node("LoadImage", image=f"{subfolder}/in.png"),
        "9": node("SaveImage", images=["1", 0], filename_prefix="tests/loaded"),
    }
    (body,) = await server.images(graph)
    assert pyvips.Image.new_from_buffer(body, "")(3, 3) == [200, 100, 50]


async def test_uploads_without_a_file_or_out_of_the_folder_are_refused(server: Served):
    assert (await server.ask("POST", "/upload/image", data=upload(None, type="input"))).status == 400
    answer = await server.ask("POST", "/upload/image", data=upload(b"x", subfolder="../../x"))
    assert answer.status == 400


async def test_uploads_into_no_folder_are_trouble(server: Served):
    assert (await server.ask("POST", "/upload/image", data=upload(b"x", type="bogus"))).status == 500
