package validate

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var configMapRules = &rules{create: rule(configMap), update: change(configMapUpdate)} // never changed

func configMap(c *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	total := 0
	data, binary := field.NewPath("data"), field.NewPath("binaryData")
	for key, value := range c.Data {
		errs = append(errs, configKey(data, key)...)
		if _, twice := c.BinaryData[key]; twice {
			errs = append(errs, field.Invalid(data.Key(key), key, "duplicate of key present in binaryData"))
		}
		total += len(value)
	}
	for key, value := range c.BinaryData {
		errs = append(errs, configKey(binary, key)...)
		total += len(value)
	}
	if total > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(field.NewPath(""), "", corev1.MaxSecretSize))
	}
	return errs
}

// configKey judges a key of a ConfigMap or Secret, which becomes a file's name.
func configKey(path *field.Path, key string) field.ErrorList {
	var errs field.ErrorList
	for _, text := range validation.IsConfigMapKey(key) {
		errs = append(errs, field.Invalid(path.Key(key), key, text))
	}
	return errs
}

func configMapUpdate(c, old *corev1.ConfigMap) field.ErrorList {
	errs := configMap(c)
	if old.Immutable == nil || !*old.Immutable {
		return errs
	}
	const text = "field is immutable when `immutable` is set"
	if c.Immutable == nil || !*c.Immutable {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), text))
	}
	if !maps.Equal(c.Data, old.Data) {
		errs = append(errs, field.Forbidden(field.NewPath("data"), text))
	}
	if !maps.EqualFunc(c.BinaryData, old.BinaryData, func(a, b []byte) bool { return string(a) == string(b) }) {
		errs = append(errs, field.Forbidden(field.NewPath("binaryData"), text))
	}
	return errs
}
