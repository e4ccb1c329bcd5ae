package validate

import (
	"bytes"
	"encoding/json"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// ip judges an address of a field in which old forms were allowed once: what
// was stored in one may stay.
func (e *problems) ip(at *field.Path, value string) field.ErrorList {
	return e.strictly(validation.IsValidIPForLegacyField, at, value)
}

// cidr does the same for a network.
func (e *problems) cidr(at *field.Path, value string) field.ErrorList {
	return e.strictly(validation.IsValidCIDRForLegacyField, at, value)
}

func (e *problems) strictly(check func(at *field.Path, value string, strict bool, old []string) field.ErrorList, at *field.Path, value string) field.ErrorList {
	errs := check(at, value, true, nil)
	if len(errs) > 0 && e.held(value) {
		return check(at, value, false, nil)
	}
	return errs
}

// warnIP warns of an address in another form than the one it should have.
func (e *problems) warnIP(at *field.Path, value string) {
	if netutils.ParseIPSloppy(value) != nil {
		e.warnings = append(e.warnings, validation.GetWarningsForIP(at, value)...)
	}
}

// warnCIDR does the same for a network.
func (e *problems) warnCIDR(at *field.Path, value string) {
	if _, _, err := netutils.ParseCIDRSloppy(value); err == nil {
		e.warnings = append(e.warnings, validation.GetWarningsForCIDR(at, value)...)
	}
}

// held tells whether a text was in what is replaced.
func (e *problems) held(text string) bool {
	if e.old == nil {
		return false
	}
	old, err := json.Marshal(e.old)
	quoted, err2 := json.Marshal(text)
	return err == nil && err2 == nil && bytes.Contains(old, quoted)
}
