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
        mem_mb=STEPS["scan"].mem_mb_of,
        runtime=STEPS["scan"].runtime_of,
        disk_mb=STEPS["scan"].disk_mb,
    params:
        config="config.yaml",
    shell:
        STEPS["scan"].shell()
