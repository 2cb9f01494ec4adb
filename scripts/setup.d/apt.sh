# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Debian packages of other releases, by the machine's own mirror and without touching its apt state.

# try N COMMAND...: repeats a command that may meet a busy lock or a network hiccup
try() {
    local left=$1
    shift
    until "$@"; do
        left=$((left - 1))
        if ((left == 0)); then return 1; fi
        sleep 3
    done
}

# The address of the machine's own Debian mirror, from its apt configuration. $1: its release's name
mirror() {
    # shellcheck disable=SC2016  # apt expands these
    apt-get indextargets --format '$(CREATED_BY)|$(COMPONENT)|$(RELEASE)|$(REPO_URI)' |
        awk -F'|' -v code="$1" '
            $1 != "Packages" || $2 != "main" || $4 ~ /security/ { next }
            $3 == code { print $4; found = 1; exit }
            $3 ~ /^(stable|oldstable|testing|unstable)$/ && spare == "" { spare = $4 }
            END { if (!found && spare != "") print spare }'
}

# private_apt FOLDER MIRROR SUITE...: sets apt_options, so that apt knows these suites and nothing of
# the system's state
private_apt() {
    local base=$1/$3 mirror=$2 keyring=/usr/share/keyrings/debian-archive-keyring.gpg options=''
    shift 2
    mkdir -p "$base/state/lists/partial" "$base/cache/archives/partial" "$base/empty"
    : >"$base/status"
    : >"$base/preferences"
    if [[ -r $keyring ]]; then options="[signed-by=$keyring] "; fi
    printf "deb $options$mirror %s main\n" "$@" >"$base/sources.list"
    # shellcheck disable=SC2034  # for the caller
    apt_options=(
        -o "Dir::Etc::sourcelist=$base/sources.list"
        -o "Dir::Etc::sourceparts=$base/empty"
        -o "Dir::Etc::preferences=$base/preferences"
        -o "Dir::Etc::preferencesparts=$base/empty"
        -o "Dir::State=$base/state"
        -o "Dir::State::status=$base/status"
        -o "Dir::Cache=$base/cache"
        -o "APT::Update::Post-Invoke-Success=" -o "APT::Update::Post-Invoke="
        -o "Acquire::Languages=none" -o "Acquire::Retries=3"
        -o "APT::Sandbox::User=$(id -un)"
    )
}

# newest_version PACKAGE: what the suite of apt_options has; nothing if it has none
newest_version() {
    apt-cache "${apt_options[@]}" madison "$1" | awk -F' *[|] *' '{ print $2 }' | sort -V | tail -n 1
}
