package validate

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

var serviceCIDRRules = &rules{ // never changed
	create: rule(serviceCIDR),
	// A range may only be joined by one of the other family.
	update: change(func(e *problems, c, old *networkingv1.ServiceCIDR) {
		at, now, was := field.NewPath("spec", "cidrs"), c.Spec.CIDRs, old.Spec.CIDRs
		switch {
		case len(was) == 1 && len(now) == 2:
			if now[0] != was[0] {
				e.immutable(nil, at.Index(0).String(), now[0], false)
			}
			cidrs(e, now, at)
		case len(now) != len(was):
			e.immutable(nil, at.String(), now, slices.Equal(now, was))
		default:
			for i := range now {
				e.immutable(nil, at.Index(i).String(), now[i], now[i] == was[i])
			}
		}
	}),
}

func serviceCIDR(e *problems, c *networkingv1.ServiceCIDR) {
	cidrs(e, c.Spec.CIDRs, field.NewPath("spec", "cidrs"))
}

func cidrs(e *problems, all []string, at *field.Path) {
	switch {
	case len(all) == 0:
		e.required(at, "at least one CIDR required")
		return
	case len(all) > 2:
		e.invalid(at, all, "may only hold up to 2 values")
	case len(all) == 2:
		if dual, err := netutils.IsDualStackCIDRStrings(all); err != nil || dual {
			break
		}
		e.invalid(at, all, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64")
	}
	for i, c := range all {
		e.all(validation.IsValidCIDR(at.Index(i), c))
	}
}
