from tests.support.app import Api


async def test_requests_are_counted_by_route_and_never_by_path(api: Api):
    program = await api.with_token("admin")
    await program.get("/api/users")
    await program.patch("/api/users/01a2048d-760e-708a-a2bc-657a129fd080", json={})
    await program.get("/api/none/01a2048d-760e-708a-a2bc-657a129fd080")

    lines = (await program.get("/metrics")).text.splitlines()

    assert 'comfylabel_http_requests_total{method="GET",route="/api/users",status="200"} 1.0' in lines
    assert 'comfylabel_http_requests_total{method="PATCH",route="/api/users/{user_id}",status="404"} 1.0' in lines
    assert not [line for line in lines if "01a2048d" in line]
    assert any(line.startswith('comfylabel_database_connections{state="idle"}') for line in lines)
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


async def test_the_probes_answer_without_a_sign_in(api: Api):
    assert (await api.anonymous.get("/healthz")).json()["data"] == {"status": "alive"}
    assert (await api.anonymous.get("/readyz")).json()["data"] == {"status": "ready"}
