package garbage

import (
	"testing"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(api *controllertest.API, c controller.Config) []controller.Controller {
		if err := api.Serve("pods", "configmaps", "secrets", "replicasets", "deployments", "nodes!", "leases"); err != nil {
			t.Fatal(err)
		}
		return []controller.Controller{New(Config{Config: c, Metadata: api.Metadata()})}
	})
}
