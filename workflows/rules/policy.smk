rule policy:
    input:
        summary="scan/summary.json",
        tables=lambda wildcards: run.tables("score", checkpoints.scan.get().output.summary),
    output:
        policy="policy.json",
    log:
        "logs/policy.log",
    conda:
        "../../envs/tierflow.yaml"
    params:
        config="config.yaml",
        scores="score",
        settings=run.settings("policy"),
    threads: STEPS["policy"].threads
    resources:
        mem_mb=STEPS["policy"].mem_mb,
    shell:
        STEPS["policy"].shell()
