package scheme

import corev1 "k8s.io/api/core/v1"

func defaultSecret(s *corev1.Secret) { fill(&s.Type, corev1.SecretTypeOpaque) }
