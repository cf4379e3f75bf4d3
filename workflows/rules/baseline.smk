rule baseline:
    input:
        # A new scan that found nothing new is no reason to start again: what changed shows in the tables.
        summary=ancient("scan/summary.json"),
        tables=lambda wildcards: run.tables(
            "extract", checkpoints.scan.get().output.summary
        ),
        settings=run.settings_files["baseline"],
    output:
        baseline="baseline.parquet",
        duplicates="duplicates.parquet",
        history="history.parquet",
    log:
        "logs/baseline.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["baseline"].threads
    resources:
        mem_mb=STEPS["baseline"].mem_mb_of,
        runtime=STEPS["baseline"].runtime_of,
        disk_mb=STEPS["baseline"].disk_mb,
    params:
        config="config.yaml",
        extracts="extract",
    shell:
        STEPS["baseline"].shell()
