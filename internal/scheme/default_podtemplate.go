package scheme

import corev1 "k8s.io/api/core/v1"

func defaultPodTemplate(t *corev1.PodTemplate) { defaultPodSpec(&t.Template.Spec) }
