// Package node only pins, in go.mod, the versions of the programs that cluster.sh builds.
package node

import _ "helm.sh/helm/v4/cmd/helm"
