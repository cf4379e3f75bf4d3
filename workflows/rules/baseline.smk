rule baseline:
    input:
        summary="scan/summary.json",
        tables=lambda wildcards: run.tables(
            "extract", checkpoints.scan.get().output.summary
        ),
        settings=run.settings_files["baseline"],
    output:
        baseline="baseline.parquet",
        duplicates="duplicates.parquet",
    log:
        "logs/baseline.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["baseline"].threads
    resources:
        mem_mb=STEPS["baseline"].mem_mb,
    params:
        config="config.yaml",
        extracts="extract",
    shell:
        STEPS["baseline"].shell()
