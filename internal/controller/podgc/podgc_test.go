package podgc

import (
	"testing"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(api *controllertest.API, c controller.Config) []controller.Controller {
		g := New(c)
		g.kept = 2
		return []controller.Controller{g}
	})
}
