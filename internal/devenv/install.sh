#!/bin/sh
# Installs what a fresh Debian or macOS machine with Go lacks: `install.sh run` for `make run`, `install.sh test` for
# `make test`. Does nothing, and at once, where all is there.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

# exists FILE...: whether a pattern, expanded by the shell, has met a file.
exists() {
    for file in "$@"; do [ -x "$file" ] && return 0; done
    return 1
}

has_postgres() {
    exists /usr/lib/postgresql/1[5-9]/bin/initdb /usr/lib/postgresql/[2-9][0-9]/bin/initdb /usr/pgsql-*/bin/initdb \
        /opt/homebrew/opt/postgresql*/bin/initdb /usr/local/opt/postgresql*/bin/initdb || has initdb
}

has_redis() { has redis-server || has valkey-server; }

has_chrome() {
    has chromium || has google-chrome || has google-chrome-stable || has chromium-browser || has headless-shell ||
        exists "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" /Applications/Chromium.app/Contents/MacOS/Chromium
}

has_nginx() { has nginx || [ -x /usr/sbin/nginx ]; }

has_pgbouncer() { has pgbouncer || [ -x /usr/sbin/pgbouncer ]; }

# The race detector needs a C compiler, and the headers of libc to link with.
has_compiler() {
    has cc || has gcc || has clang || return 1
    [ "$(uname)" = Darwin ] || exists /usr/include/stdio.h || [ -r /usr/include/stdio.h ]
}

# missing NAMES: the words of a list, under the names that this system's packages have.
missing() {
    has_postgres || echo "$1"
    has_redis || echo "$2"
    [ "$goal" = test ] || return 0
    has_compiler || echo "$3"
    has node || echo "$4"
    has npm || echo "$5"
    has_chrome || echo "$6"
    has_nginx || echo "$7"
    has_pgbouncer || echo "$8"
    has promtool || echo "$9"
}

give_up() {
    echo "$1" >&2
    exit 1
}

install_debian() {
    packages=$(missing postgresql redis-server "gcc libc6-dev" nodejs npm chromium nginx-light pgbouncer prometheus | xargs)
    [ -n "$packages" ] || return 0
    advice="Install what is missing with: apt-get install $packages"
    root=
    if [ "$(id -u)" != 0 ]; then
        has sudo || give_up "$advice (this user is not root, and there is no sudo)"
        root=sudo
        [ -t 0 ] || root="sudo -n" # nobody is there to type a password
        $root true 2>/dev/null || give_up "$advice (this user may not use sudo)"
    fi
    echo "Installing $packages" >&2
    # shellcheck disable=SC2086
    $root env DEBIAN_FRONTEND=noninteractive sh -s -- $packages <<'ROOT' || give_up "$advice"
set -eu
# Debian starts a service as soon as its package is installed, and creates a database cluster with it. Freshet runs
# private servers of its own and wants no others on this machine, so both are held back for the time of the install:
# policy-rc.d is what Debian asks before it starts a service, createcluster.d what PostgreSQL's package asks.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/freshet.conf
clean() { rm -f "$cluster"; [ -z "${ours:-}" ] || rm -f "$policy"; }
trap clean EXIT
trap 'exit 1' INT TERM
if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
mkdir -p "${cluster%/*}"
echo 'create_main_cluster = false' >"$cluster"
had_redis=$(command -v redis-server || true)
had_nginx=$(ls /etc/init.d/nginx 2>/dev/null || true)
had_pgbouncer=$(ls /etc/init.d/pgbouncer 2>/dev/null || true)
had_prometheus=$(ls /etc/init.d/prometheus 2>/dev/null || true)
apt-get update -qq </dev/null || echo "The package lists could not be renewed, trying with the old ones" >&2
apt-get install -q -y -o Dpkg::Use-Pty=0 --no-install-recommends "$@" </dev/null
# Nor should it start with the machine from now on. One that was there before is none of our business.
quiet() {
    if [ -z "$2" ] && [ -e "/etc/init.d/$1" ]; then
        update-rc.d "$1" disable || true # for systemd too
    fi
}
quiet redis-server "$had_redis"
quiet nginx "$had_nginx"
quiet pgbouncer "$had_pgbouncer"
quiet prometheus "$had_prometheus"
ROOT
}

install_macos() {
    packages=$(missing postgresql@17 redis "" node "" "" nginx pgbouncer prometheus | xargs)
    casks=
    if [ "$goal" = test ]; then
        has_compiler || give_up "Install a C compiler with: xcode-select --install"
        has_chrome || casks=google-chrome
    fi
    [ -n "$packages$casks" ] || return 0
    has brew || give_up "Install Homebrew from https://brew.sh, then: brew install $packages $casks"
    # Homebrew starts no services by itself.
    # shellcheck disable=SC2086
    for package in $packages; do brew install --quiet "$package" </dev/null || give_up "Install what is missing with: brew install $package"; done
    for cask in $casks; do brew install --quiet --cask "$cask" </dev/null || give_up "Install what is missing with: brew install --cask $cask"; done
}

goal=${1:-run}
if has apt-get; then
    install_debian
elif [ "$(uname)" = Darwin ]; then
    install_macos
else
    absent=$(missing "PostgreSQL 15 or newer," "Redis 7 or newer," "a C compiler," "Node.js," "npm," "Chromium," "nginx," "PgBouncer," "Prometheus (promtool)," | xargs)
    [ -z "$absent" ] || give_up "Install with this system's package manager: ${absent%,}"
fi
