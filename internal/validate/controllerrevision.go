package validate

import (
	"bytes"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var controllerRevisionRules = &rules{ // never changed
	create: rule(controllerRevision),
	update: change(func(e *problems, c, old *appsv1.ControllerRevision) {
		e.notNegative(nil, "revision", c.Revision)
		e.immutable(nil, "data", c.Data, sameSpec(c.Data, old.Data))
	}),
}

func controllerRevision(e *problems, c *appsv1.ControllerRevision) {
	if len(c.Data.Raw) == 0 && c.Data.Object == nil {
		e.required(field.NewPath("data"), "data is mandatory")
	} else if raw := bytes.TrimSpace(c.Data.Raw); len(raw) > 0 && raw[0] != '{' {
		e.required(field.NewPath("data"), "data must be a valid JSON object")
	}
	e.notNegative(nil, "revision", c.Revision)
}
