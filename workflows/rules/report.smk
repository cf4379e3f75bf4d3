rule report:
    input:
        summary="scan/summary.json",
        policy="policy.json",
        baseline="baseline.parquet",
        tables=lambda wildcards: run.tables(
            "index", checkpoints.scan.get().output.summary
        ),
        settings=run.settings_files["report"],
    output:
        html="report.html",
        objects="objects.csv",
    log:
        "logs/report.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["report"].threads
    resources:
        mem_mb=STEPS["report"].mem_mb_of,
        runtime=STEPS["report"].runtime_of,
        disk_mb=STEPS["report"].disk_mb,
    params:
        config="config.yaml",
        catalogue="catalogue",
    shell:
        STEPS["report"].shell()
