// Command clipper-kubectl is upstream's kubectl. It is a program of its own,
// carried inside clipper and unpacked on first use, so that a running cluster
// does not hold kubectl's code and start-up state in memory.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"

	// Credentials of clouds and of OpenID providers in a kubeconfig.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	os.Args[0] = "kubectl" // what help texts call it
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
