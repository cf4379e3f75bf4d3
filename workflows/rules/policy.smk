rule policy:
    input:
        # A new scan that found nothing new is no reason to start again: what changed shows in the tables.
        summary=ancient("scan/summary.json"),
        tables=lambda wildcards: run.tables(
            "score", checkpoints.scan.get().output.summary
        ),
        settings=run.settings_files["policy"],
    output:
        policy="policy.json",
    log:
        "logs/policy.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["policy"].threads
    resources:
        mem_mb=STEPS["policy"].mem_mb_of,
        runtime=STEPS["policy"].runtime_of,
        disk_mb=STEPS["policy"].disk_mb,
    params:
        config="config.yaml",
        scores="score",
    shell:
        STEPS["policy"].shell()
