rule policy:
    input:
        summary="scan/summary.json",
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
        mem_mb=STEPS["policy"].mem_mb,
    params:
        config="config.yaml",
        scores="score",
    shell:
        STEPS["policy"].shell()
