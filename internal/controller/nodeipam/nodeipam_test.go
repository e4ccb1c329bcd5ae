package nodeipam

import (
	"net/netip"
	"testing"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(_ *controllertest.API, c controller.Config) []controller.Controller {
		return []controller.Controller{New(Config{Config: c, Cluster: netip.MustParsePrefix("10.42.0.0/22"), Bits: 24, Home: "server"})}
	})
}
