"""Credentials that expire while a study runs: said as what they are, and what was certified before stays."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.test_on_servers import objects_in, on_s3
from tests.servers import SeaweedFS
from tests.small_study import SmallStudy, net
from tests.store.proxy import EXPIRED, Proxy, Request
from tests.study_fixtures import Run
from tests.workflows.jobs import QUICKLY


def test_they_expire_midway(s3_server: SeaweedFS, run: Run, tmp_path: Path) -> None:
    study = SmallStudy.make(tmp_path / "study", [net(f"net-{seed}", seed) for seed in range(2)])
    bucket = s3_server.create_bucket("overlap-credentials")
    on_s3(study, s3_server, bucket, "whole", ensembles=QUICKLY)
    with Proxy(s3_server.endpoint_url) as proxy:
        study.write(store={"uri": f"s3://{bucket}/whole/store", "endpoint_url": proxy.endpoint_url})
        records: list[str] = []

        def after_five_records(request: Request) -> str | None:
            if request.method == "PUT" and "/records/" in request.path:
                records.append(request.path)
            return EXPIRED if len(records) > 5 else None

        proxy.fault = after_five_records
        ran = run(study)
        assert ran.code == 2, ran
        (said,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
        assert f"the credentials have expired at {proxy.endpoint_url} (ExpiredToken); renew them" in said
        before = {key: body for key, body in objects_in(s3_server, bucket, "whole/store/").items() if "records/" in key}
        assert len(before) == 5

        proxy.fault = lambda request: None
        again = run(study)
        assert again.code == 0, again
        assert again.outcome["computed"] == 12 - 5
    after = objects_in(s3_server, bucket, "whole/store/")
    assert {key: after[key] for key in before} == before
