package pvcprotection

import (
	"testing"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(_ *controllertest.API, c controller.Config) []controller.Controller {
		return []controller.Controller{New(c)}
	})
}
