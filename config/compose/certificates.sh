#!/bin/bash
# Make an authority of our own and the server's certificate, once; run by the service `certificates` of compose.yaml.
set -euo pipefail
cd /usr/share/elasticsearch
folder=/certificates

if [ ! -s "$folder/done" ]; then
    # What an interrupted start has left is of no use.
    rm -rf "$folder/ca" "$folder/node" "$folder/ca.zip" "$folder/node.zip"
    bin/elasticsearch-certutil ca --silent --pem --days 3650 --out "$folder/ca.zip"
    unzip -q "$folder/ca.zip" -d "$folder"
    bin/elasticsearch-certutil cert --silent --pem --days 3650 --name node \
        --dns elasticsearch,localhost --ip 127.0.0.1 \
        --ca-cert "$folder/ca/ca.crt" --ca-key "$folder/ca/ca.key" --out "$folder/node.zip"
    unzip -q "$folder/node.zip" -d "$folder"
    rm "$folder/ca.zip" "$folder/node.zip"
    # The server runs in the group root; nobody else may read the keys.
    chown -R root:root "$folder"
    find "$folder" -type d -exec chmod 750 {} +
    find "$folder" -type f -exec chmod 640 {} +
    date >"$folder/done"
fi

# Others get the authority's certificate alone.
cp "$folder/ca/ca.crt" /ca/ca.crt
chmod 755 /ca
chmod 644 /ca/ca.crt
