#!/bin/sh
# Leaves of a Debian with Python what a pod needs: `base.sh`, in a stage of its own (or at the end, without stages).
# Debian's record of what is installed stays true, for scanners.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# tini starts tierflow. usrmerge, which some bases have, converts old systems and needs the whole of Perl.
apt-get -qq install --no-install-recommends tini usr-is-merged usrmerge-
# Nothing is built or installed in a pod.
apt-get -qq purge --auto-remove binutils perl 'libperl5*' 'perl-modules-5*' 'lib*-perl' python3-pip
# apt itself, what only it uses, and the Perl of packages' scripts. Names that this Debian doesn't know are passed over.
dpkg-query --show --showformat '${Package}\n' apt debconf gpgv 'libapt-pkg*' 'libgnutls30*' libidn2-0 libp11-kit0 \
    'libunistring*' perl-base 2>/dev/null >/tmp/packages || true
xargs dpkg --purge --force-depends --force-remove-essential </tmp/packages

# The same for a Python that is no package of Debian; editors, window toolkits, lessons, and the texts of help().
for name in stdlib purelib; do
    folder=$(python -c "import sysconfig; print(sysconfig.get_path('$name'))")
    for unused in ensurepip idlelib lib2to3 pip pip-*.dist-info pydoc_data test tkinter turtledemo; do
        # shellcheck disable=SC2086 # the star
        rm -rf "$folder"/$unused
    done
    # Bytecode is made for what is imported, and no more (bytecode.py).
    [ ! -d "$folder" ] || find "$folder" -name "*.pyc" -delete
done
# Character sets for programs in C: Python has its own.
rm -rf /usr/lib/*/gconv
rm -rf /tmp/packages /usr/local/bin/pip* /usr/share/doc/* /usr/share/info/* /usr/share/man/* /var/cache/apt \
    /var/cache/debconf /var/lib/apt /var/lib/dpkg/*-old /var/log/*
