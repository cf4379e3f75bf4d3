#!/bin/bash
# Set the password of Kibana's user, and make the role and the user `tierflow`; run by the service `accounts` of
# compose.yaml. Running it again sets the same things again.
set -euo pipefail

check() { # NAME VALUE: passwords become JSON and curl's configuration, so they hold no sign that means something there
    if [[ ! $2 =~ ^[A-Za-z0-9._~-]{12,100}$ ]]; then
        echo "$1 must have 12 to 100 letters, digits, and . _ ~ - : correct it in .env" >&2
        exit 78
    fi
}

call() { # METHOD PATH, the body on standard input; the password never becomes an argument, which all users could see
    curl --silent --show-error --fail --retry 5 --cacert /ca/ca.crt \
        --config <(printf 'user = "elastic:%s"\n' "$ELASTIC_PASSWORD") \
        --request "$1" --header "Content-Type: application/json" --data @- --output /dev/null \
        "https://elasticsearch:9200$2"
}

check ELASTIC_PASSWORD "$ELASTIC_PASSWORD"
check KIBANA_PASSWORD "$KIBANA_PASSWORD"
check TIERFLOW_PASSWORD "$TIERFLOW_PASSWORD"

printf '{"password": "%s"}' "$KIBANA_PASSWORD" | call POST /_security/user/kibana_system/_password
call PUT /_security/role/tierflow <<'JSON'
{
  "cluster": ["monitor", "manage_index_templates"],
  "indices": [{
    "names": ["tierflow-*"],
    "privileges": ["create_index", "manage", "read", "write"]
  }]
}
JSON
printf '{"password": "%s", "roles": ["tierflow"], "full_name": "tierflow"}' "$TIERFLOW_PASSWORD" |
    call PUT /_security/user/tierflow
echo "accounts are set"
