package validate

import (
	"bytes"
	"encoding/json"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var secretRules = &rules{create: rule(secret), update: change(secretUpdate)} // never changed

// secretKeys are the keys that a Secret of a type must have.
var secretKeys = map[corev1.SecretType][]string{ // never changed
	corev1.SecretTypeSSHAuth: {corev1.SSHAuthPrivateKey},
	corev1.SecretTypeTLS:     {corev1.TLSCertKey, corev1.TLSPrivateKeyKey},
}

func secret(e *problems, s *corev1.Secret) {
	total := 0
	for key, value := range s.Data {
		e.texts(dataPath.Key(key), key, validation.IsConfigMapKey(key))
		total += len(value)
	}
	if total > corev1.MaxSecretSize {
		e.add(field.TooLong(dataPath, "", corev1.MaxSecretSize))
	}
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			e.required(metadata.Child("annotations").Key(corev1.ServiceAccountNameKey), "")
		}
	case corev1.SecretTypeDockercfg:
		secretJSON(e, s, corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		secretJSON(e, s, corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth:
		_, user := s.Data[corev1.BasicAuthUsernameKey]
		_, password := s.Data[corev1.BasicAuthPasswordKey]
		if !user && !password {
			e.required(dataPath.Key(corev1.BasicAuthUsernameKey), "")
			e.required(dataPath.Key(corev1.BasicAuthPasswordKey), "")
		}
	default:
		for _, key := range secretKeys[s.Type] {
			if _, ok := s.Data[key]; !ok {
				e.required(dataPath.Key(key), "")
			}
		}
	}
}

func secretJSON(e *problems, s *corev1.Secret, key string) {
	value, ok := s.Data[key]
	if !ok {
		e.required(dataPath.Key(key), "")
		return
	}
	if len(value) == 0 {
		e.invalid(dataPath.Key(key), "<secret contents redacted>", "unexpected end of JSON input")
		return
	}
	var m map[string]any
	if err := json.Unmarshal(value, &m); err != nil {
		e.invalid(dataPath.Key(key), "<secret contents redacted>", err.Error())
	}
}

func secretUpdate(e *problems, s, old *corev1.Secret) {
	e.immutable(nil, "type", s.Type, s.Type == old.Type)
	if old.Immutable != nil && *old.Immutable {
		if s.Immutable == nil || !*s.Immutable {
			e.forbidden(immutablePath, isImmutable)
		}
		if !maps.EqualFunc(s.Data, old.Data, bytes.Equal) {
			e.forbidden(dataPath, isImmutable)
		}
	}
	secret(e, s)
}
