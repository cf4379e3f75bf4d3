checkpoint scan:
    output:
        summary="scan/summary.json",
    log:
        "logs/scan.log",
    conda:
        "../../envs/tierflow.yaml"
    params:
        config="config.yaml",
        settings=run.settings("scan"),
        fingerprint=lambda wildcards: run.fingerprint,
    threads: STEPS["scan"].threads
    resources:
        mem_mb=STEPS["scan"].mem_mb,
    shell:
        STEPS["scan"].shell()
