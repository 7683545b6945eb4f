#!/usr/bin/env bash
# A real one-node Kubernetes for the scenarios of e2e/cluster, with no Docker and no registry: etcd, kube-apiserver, controller manager,
# scheduler, kubelet, kube-proxy and CoreDNS built from Go modules; containerd, runc and CNI plugins from Debian.
# Everything runs in one private mount, network, host-name and PID namespace: ending its first process ends all of it.
#
#   cluster.sh build                    build what is missing into the cache (once; about 5 minutes on 2 cores): the cluster's programs, kubectl, helm (4), helm3
#   cluster.sh missing                  say what this machine lacks to run a node, one thing a line; exit status 1 when something is missing
#   cluster.sh up                       start; prints when the node is Ready. NODE_KUBELET=no: the control plane alone, which runs no pods
#   cluster.sh archive NAME CONTEXT FILE  build an image from a folder with a Containerfile into a file
#   cluster.sh image NAME CONTEXT       the same, and load it into the node
#   cluster.sh load ARCHIVE             load an OCI or Docker archive into the node
#   cluster.sh exec CMD...              run CMD inside the node (its network and DNS); KUBECONFIG is set to the admin's
#   cluster.sh start NAME [CMD...]      start a process of the node: one that was stopped, or a new one, which then belongs to the node
#   cluster.sh stop|kill NAME           SIGTERM (after 10 s SIGKILL), or SIGKILL at once, to one process of the node; returns when it is gone
#   cluster.sh restart NAME             stop and start
#   cluster.sh pause|resume NAME        SIGSTOP and SIGCONT: a process that is alive and answers nothing
#   cluster.sh log NAME                 what a process of the node wrote: containerd etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns
#   cluster.sh down                     end everything and remove the state
#
# Several nodes may run on one machine: each has its own NODE_STATE. Environment:
#   NODE_STATE             folder of this node (default /tmp/sallyport-node)
#   NODE_CACHE             what outlives nodes (default ~/.cache/sallyport-node)
#   NODE_BIN               folder of programs built elsewhere; what it has is not built again (default: a folder of the cache, named after the pinned versions)
#   NODE_TOKENS            file of more users, as --token-auth-file has them: TOKEN,USER,UID,"GROUP,GROUP"
#   NODE_AUTHENTICATION    file for the API server's --authentication-config: trusted OIDC issuers. Read again by the API server when it changes
#   NODE_APISERVER_FLAGS   more flags
#   NODE_PROCESSES         folder of more processes, one a file whose name is theirs: a shell script that ends in exec. They start before the API server, in the node's network
# Needs root and Linux.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Debian's Go is too old for these modules; the official archive unpacks into /usr/local/go, which is on nobody's PATH by itself.
export PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin
cache=${NODE_CACHE:-$HOME/.cache/sallyport-node}; state=${NODE_STATE:-/tmp/sallyport-node}
# Named after the pinned versions: a change of a go.mod never runs yesterday's program.
bin=${NODE_BIN:-$cache/bin-$(cat "$here"/go.mod "$here"/*/go.mod | cksum | cut -d' ' -f1)}
node_ip=192.168.77.1; dns_ip=10.96.0.10
cgroup=sallyport-$(echo "$state" | cksum | cut -d' ' -f1)
go_programs=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl etcd helm helm3 coredns)
debian_programs=(containerd runc buildah nft iptables conntrack ip openssl gcc nsenter unshare)

missing() {
  local lacks=()
  [ "$(uname)" = Linux ] || lacks+=('Linux')
  [ "$(id -u)" = 0 ] || lacks+=('root: namespaces, mounts and containers need it')
  for program in "${debian_programs[@]}"; do command -v "$program" >/dev/null || lacks+=("$program (of Debian's containerd runc buildah nftables iptables conntrack iproute2 openssl gcc libc6-dev util-linux)"); done
  [ -x /usr/lib/cni/bridge ] || lacks+=("/usr/lib/cni/bridge (Debian's containernetworking-plugins)")
  local unbuilt=no
  for program in "${go_programs[@]}"; do [ -x "$bin/$program" ] || unbuilt=yes; done
  if [ $unbuilt = yes ]; then
    if ! command -v go >/dev/null; then lacks+=("Go $(wanted_go) or newer on PATH or in /usr/local/go/bin, to build Kubernetes' programs once (Debian's golang is too old)")
    elif ! newer_or_equal "$(go env GOVERSION | sed 's/^go//')" "$(wanted_go)" && [ "$(go env GOTOOLCHAIN)" = local ]; then lacks+=("Go $(wanted_go) or newer: this one is $(go env GOVERSION)"); fi
  fi
  [ ${#lacks[@]} = 0 ] || { printf '%s\n' "${lacks[@]}"; return 1; }
}
wanted_go() { awk '$1 == "go" {print $2}' "$here/go.mod"; }
newer_or_equal() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$2" ]; }

build() {
  mkdir -p "$bin" "$cache"
  # One builder at a time: two would compile the same packages twice.
  exec 9>"$cache/build.lock"; flock 9
  local version minor stamp
  version=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$here/go.mod"); minor=$(echo "$version" | cut -d. -f2)
  # Without a version stamp the API server says v0.0.0-master, and kubectl, helm and the chart's kubeVersion refuse it.
  stamp="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
  # All of one module in one call: shared packages compile once, and both cores have work.
  go_build . "$stamp" k8s.io/kubernetes/cmd/ kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl
  go_build_as . etcd go.etcd.io/etcd/server/v3
  go_build_as helm helm helm.sh/helm/v4/cmd/helm
  go_build_as helm3 helm3 helm.sh/helm/v3/cmd/helm
  go_build_as dns coredns .
  exec 9>&-
}
go_build() { # FOLDER LDFLAGS PREFIX PROGRAM...
  local folder=$1 flags=$2 prefix=$3 wanted=(); shift 3
  for program in "$@"; do [ -x "$bin/$program" ] || wanted+=("$prefix$program"); done
  [ ${#wanted[@]} = 0 ] || (cd "$here/$folder" && CGO_ENABLED=0 go build -ldflags "$flags" -o "$bin/" "${wanted[@]}")
}
go_build_as() { [ -x "$bin/$2" ] || (cd "$here/$1" && CGO_ENABLED=0 go build -ldflags '-s -w' -o "$bin/$2" "$3"); } # FOLDER PROGRAM PACKAGE

inside() { nsenter -t "$(cat "$state/init.pid")" -m -n -u -p -- env KUBECONFIG="$state/admin.kubeconfig" PATH="$bin:$PATH" "$@"; }

storage() { # buildah's own storage, so that nothing else on the machine is touched
  mkdir -p "$state"
  printf '[storage]\ndriver="overlay"\ngraphroot="%s/buildah"\nrunroot="%s/buildah-run"\n' "$state" "$state" >"$state/storage.conf"
  export CONTAINERS_STORAGE_CONF=$state/storage.conf
}
archive() { # NAME CONTEXT FILE. Docker's format: its layers are not compressed, and it is read once, on this machine
  storage
  buildah bud -q --isolation chroot -f "$2/Containerfile" -t "$1" "$2" >/dev/null
  rm -f "$3"; buildah push -q "$1" "docker-archive:$3:$1"
  buildah rmi -f "$1" >/dev/null
}
load() { inside ctr -a "$state/run/containerd.sock" -n k8s.io images import --digests=false "$1" >/dev/null; }
image() { archive "$1" "$2" "$state/image-$$.tar"; load "$state/image-$$.tar"; rm -f "$state/image-$$.tar"; }

# The file that the first process runs for a component: `start` after `stop` runs the same again.
command_of() { local name=$1; shift; { echo 'exec \'; printf '  %q' "$@"; echo; } >"$state/commands/$name"; }
pid_of() { cat "$state/pids/$1" 2>/dev/null || { echo "cluster.sh: no process $1; there are: $(ls "$state/pids" | tr '\n' ' ')" >&2; exit 1; }; }
signal() { inside kill "-$1" "$(pid_of "$2")"; }
gone() { for _ in $(seq 100); do inside kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done; return 1; }
start() {
  local name=$1; shift
  [ $# = 0 ] || command_of "$name" "$@"
  rm -f "$state/pids/$name"
  echo "$name" >"$state/start.fifo"
  for _ in $(seq 100); do [ -s "$state/pids/$name" ] && return 0; sleep 0.05; done
  echo "cluster.sh: $name did not start" >&2; exit 1
}
# An API server waits a minute for its watchers to leave; tests do not.
stop() { local pid; pid=$(pid_of "$2"); inside kill "-$1" "$pid"; gone "$pid" || { inside kill -KILL "$pid"; gone "$pid"; }; }

configs() {
  mkdir -p "$state"/{log,run,lib,cni,kubelet,certs,pause,commands,pids}
  mkfifo "$state/start.fifo"
  openssl genrsa -out "$state/sa.key" 2048 2>/dev/null; openssl rsa -in "$state/sa.key" -pubout -out "$state/sa.pub" 2>/dev/null
  # The authority of client certificates, so that a CertificateSigningRequest can make a person's credentials.
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=client-authority -keyout "$state/client-ca.key" -out "$state/client-ca.crt" 2>/dev/null
  { echo 'admin-token,admin,admin,"system:masters"'; echo 'node-token,system:node:node-1,node-1,"system:nodes"'; cat "${NODE_TOKENS:-/dev/null}"; } >"$state/tokens.csv"
  for who in admin node; do cat >"$state/$who.kubeconfig" <<K
{apiVersion: v1, kind: Config, current-context: test, contexts: [{name: test, context: {cluster: test, user: $who}}],
 clusters: [{name: test, cluster: {server: "https://$node_ip:6443", certificate-authority: "$state/certs/apiserver.crt"}}], users: [{name: $who, user: {token: $who-token}}]}
K
  done
  cat >"$state/containerd.toml" <<K
version = 2
root = "$state/lib"
state = "$state/run"
[grpc]
  address = "$state/run/containerd.sock"
[ttrpc]
  address = "$state/run/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "$state/lib/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true # without CAP_SYS_RESOURCE a negative score is refused and no pod sandbox starts
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
K
  cat >"$state/cni/10-bridge.conflist" <<K
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$state/ipam", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "portmap", "capabilities": {"portMappings": true}}]}
K
  # cgroupRoot, podLogsDir: two kubelets with one root end each other's pods as orphans and remove their logs. failCgroupV1: many CI machines still have version 1.
  cat >"$state/kubelet.yaml" <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$state/run/containerd.sock
cgroupRoot: /$cgroup
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
clusterDNS: ["$dns_ip"]
clusterDomain: cluster.local
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
syncFrequency: 10s
crashLoopBackOff: {maxContainerRestartPeriod: 10s}
podLogsDir: $state/pod-logs
K
  # conntrack: in a network namespace of its own the kernel's limits are read-only, and kube-proxy ends when it may not set them.
  cat >"$state/kube-proxy.yaml" <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: 10.244.0.0/16
hostnameOverride: node-1
clientConnection: {kubeconfig: "$state/admin.kubeconfig"}
nftables: {minSyncPeriod: 50ms}
conntrack: {maxPerCore: 0, min: 0}
K
  cat >"$state/Corefile" <<K
.:53 {
  bind $node_ip
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig $state/admin.kubeconfig
  }
}
K
  cat >"$state/dns.yaml" <<K
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: $dns_ip, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-1, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: [$node_ip], conditions: {ready: true}}]
K
  printf 'nameserver %s\nsearch svc.cluster.local cluster.local\noptions ndots:5\n' "$dns_ip" >"$state/resolv.conf"
}

commands() { # each component as it is started, and started again
  local authentication=(); [ -z "${NODE_AUTHENTICATION:-}" ] || authentication=("--authentication-config=$NODE_AUTHENTICATION")
  command_of containerd containerd -c containerd.toml
  command_of etcd etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level error
  # shellcheck disable=SC2086 # NODE_APISERVER_FLAGS is several words
  command_of kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --bind-address=0.0.0.0 --advertise-address=$node_ip \
    --cert-dir=certs --service-cluster-ip-range=10.96.0.0/16 --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=sa.pub \
    --service-account-signing-key-file=sa.key --authorization-mode=Node,RBAC --token-auth-file=tokens.csv --client-ca-file=client-ca.crt --allow-privileged=true \
    --kubelet-preferred-address-types=InternalIP "${authentication[@]}" ${NODE_APISERVER_FLAGS:-}
  command_of kube-controller-manager kube-controller-manager --kubeconfig=admin.kubeconfig --service-account-private-key-file=sa.key \
    --cluster-signing-cert-file=client-ca.crt --cluster-signing-key-file=client-ca.key --root-ca-file=certs/apiserver.crt --use-service-account-credentials=true --leader-elect=false
  command_of kube-scheduler kube-scheduler --kubeconfig=admin.kubeconfig --leader-elect=false
  command_of kubelet kubelet --config kubelet.yaml --kubeconfig node.kubeconfig --root-dir "$state/kubelet" --cert-dir "$state/kubelet/pki" \
    --node-ip=$node_ip --hostname-override=node-1
  command_of kube-proxy kube-proxy --config kube-proxy.yaml
  command_of coredns coredns -conf Corefile
}

first_process() { # runs as process 1 of the namespaces
  hostname node-1; mount --make-rshared /; mount --bind "$state/resolv.conf" /etc/resolv.conf
  ip link set lo up; sysctl -qw net.ipv4.ip_forward=1
  # A default route and one for the service range: without a route the kernel refuses a packet before kube-proxy's rules see it.
  ip link add node0 type veth peer name node0-peer; ip addr add $node_ip/24 dev node0; ip link set node0 up; ip link set node0-peer up
  ip route add default dev node0 2>/dev/null || true; ip route add 10.96.0.0/16 dev node0
  cd "$state"
  run() { bash "commands/$1" >>"log/$1.log" 2>&1 & echo $! >"pids/$1.new"; mv "pids/$1.new" "pids/$1"; }
  # First of all: an API server that does not reach its issuer at once asks again only after ten seconds.
  [ -z "${NODE_PROCESSES:-}" ] || for file in "$NODE_PROCESSES"/*; do cp "$file" commands/; run "$(basename "$file")"; done
  run etcd; run kube-apiserver
  [ "${NODE_KUBELET:-yes}" = no ] || run containerd
  export KUBECONFIG=admin.kubeconfig
  until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
  run kube-controller-manager
  if [ "${NODE_KUBELET:-yes}" != no ]; then
    run kube-scheduler
    ctr -a run/containerd.sock -n k8s.io images import pause.tar >/dev/null
    run kubelet; run kube-proxy; run coredns
    kubectl apply -f dns.yaml >/dev/null
  fi
  touch started
  # Process 1 starts what `cluster.sh start` names and takes in what ends. Read and write: a pipe that only readers hold is at its end.
  exec 8<>start.fifo
  while :; do if read -r -t 1 name <&8; then run "$name"; fi; done
}

cgroups() { # make|remove: the kubelet's own root, in every hierarchy of cgroup v1, or the one of v2
  local root folders=(); [ -e /sys/fs/cgroup/cgroup.controllers ] && folders=(/sys/fs/cgroup) || folders=(/sys/fs/cgroup/*/)
  for root in "${folders[@]}"; do
    root=${root%/}; [ -w "$root" ] || continue
    if [ "$1" = make ]; then
      [ ! -e "$root/cgroup.subtree_control" ] || for controller in $(cat "$root/cgroup.controllers"); do echo "+$controller" >"$root/cgroup.subtree_control" 2>/dev/null || true; done
      mkdir -p "$root/$cgroup" 2>/dev/null || continue
      # A new group of cpuset v1 has no processor and takes no process before it is given some.
      for file in cpuset.cpus cpuset.mems; do [ ! -e "$root/$cgroup/$file" ] || cat "$root/$file" >"$root/$cgroup/$file" 2>/dev/null || true; done
    elif [ -d "$root/$cgroup" ]; then find "$root/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
  done
}

up() {
  [ ! -e "$state/init.pid" ] || { echo "cluster.sh: $state holds a node; run 'cluster.sh down' first" >&2; exit 1; }
  missing >&2 || exit 1
  build; configs; commands; cgroups make
  if [ "${NODE_KUBELET:-yes}" != no ]; then
    printf '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n' | gcc -Os -static -s -x c - -o "$state/pause/pause"
    printf 'FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT ["/pause"]\n' >"$state/pause/Containerfile"
    archive localhost/pause:1 "$state/pause" "$state/pause.tar"
  fi
  PATH="$bin:$PATH" setsid unshare --mount --net --uts --pid --fork --mount-proc --propagation private \
    bash "${BASH_SOURCE[0]}" first-process >"$state/log/init.log" 2>&1 </dev/null &
  local outer=$!
  for _ in $(seq 600); do
    pgrep -P "$outer" >"$state/init.pid" 2>/dev/null && [ -e "$state/started" ] && ready && return
    kill -0 "$outer" 2>/dev/null || break
    sleep 0.2
  done
  echo "cluster.sh: the node did not become Ready in time; see $state/log" >&2; tail -n 3 "$state"/log/*.log >&2; exit 1
}
ready() {
  if [ "${NODE_KUBELET:-yes}" = no ]; then echo "the control plane is ready (no kubelet); KUBECONFIG=$state/admin.kubeconfig inside 'cluster.sh exec'"; return; fi
  inside kubectl get node node-1 2>/dev/null | grep -q ' Ready' && echo "node-1 is Ready; KUBECONFIG=$state/admin.kubeconfig inside 'cluster.sh exec'"
}

down() {
  [ -e "$state" ] || return 0
  [ ! -s "$state/init.pid" ] || kill -9 "$(cat "$state/init.pid")" 2>/dev/null || true
  for _ in $(seq 50); do cgroups remove; rm -rf "$state" 2>/dev/null && return 0; sleep 0.2; done
  echo "cluster.sh: $state could not be removed" >&2; exit 1
}

case ${1:-} in
  build | missing | up | down) "$1" ;;
  archive) archive "$2" "$3" "$4" ;;
  image) image "$2" "$3" ;;
  load) load "$2" ;;
  exec) shift; inside "$@" ;;
  start) shift; start "$@" ;;
  stop) stop TERM "$2" ;;
  kill) stop KILL "$2" ;;
  restart) stop TERM "$2"; start "$2" ;;
  pause) signal STOP "$2" ;;
  resume) signal CONT "$2" ;;
  log) cat "$state/log/$2.log" ;;
  first-process) first_process ;;
  *) sed -n '2,32p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
