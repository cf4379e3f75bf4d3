checkpoint scan:
    input:
        settings=run.settings_files["scan"],
    output:
        summary="scan/summary.json",
    log:
        "logs/scan.log",
    conda:
        "../../envs/tierflow.yaml"
    threads: STEPS["scan"].threads
    resources:
        mem_mb=STEPS["scan"].mem_mb,
    params:
        config="config.yaml",
    shell:
        STEPS["scan"].shell()
