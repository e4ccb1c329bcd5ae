package deployment

import (
	"testing"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
	"clipper/internal/controller/replicaset"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(api *controllertest.API, c controller.Config) []controller.Controller {
		return []controller.Controller{New(c), replicaset.New(c)}
	})
}
