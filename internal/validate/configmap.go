package validate

import (
	"bytes"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var configMapRules = &rules{create: rule(configMap), update: change(configMapUpdate)} // never changed

var (
	dataPath       = field.NewPath("data")
	binaryDataPath = field.NewPath("binaryData")
	immutablePath  = field.NewPath("immutable")
)

const isImmutable = "field is immutable when `immutable` is set"

func configMap(e *problems, c *corev1.ConfigMap) {
	total := 0
	for key, value := range c.Data {
		e.texts(dataPath.Key(key), key, validation.IsConfigMapKey(key))
		if _, twice := c.BinaryData[key]; twice {
			e.invalid(dataPath.Key(key), key, "duplicate of key present in binaryData")
		}
		total += len(value)
	}
	for key, value := range c.BinaryData {
		e.texts(binaryDataPath.Key(key), key, validation.IsConfigMapKey(key))
		total += len(value)
	}
	if total > corev1.MaxSecretSize {
		e.add(field.TooLong(field.NewPath(""), "", corev1.MaxSecretSize))
	}
}

func configMapUpdate(e *problems, c, old *corev1.ConfigMap) {
	configMap(e, c)
	if old.Immutable == nil || !*old.Immutable {
		return
	}
	if c.Immutable == nil || !*c.Immutable {
		e.forbidden(immutablePath, isImmutable)
	}
	if !maps.Equal(c.Data, old.Data) {
		e.forbidden(dataPath, isImmutable)
	}
	if !maps.EqualFunc(c.BinaryData, old.BinaryData, bytes.Equal) {
		e.forbidden(binaryDataPath, isImmutable)
	}
}
