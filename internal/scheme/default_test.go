package scheme

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// Each case is a kind as a user writes it and as it is read back.
func TestDefaults(t *testing.T) {
	tests := []struct{ name, group, version, resource, in, out string }{
		{"pod", "", "v1", "pods", `
metadata: {name: p}
spec:
  hostNetwork: true
  serviceAccount: old
  containers:
  - name: a
    image: nginx
    ports: [{containerPort: 80}]
    env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 100m}}
    livenessProbe: {httpGet: {port: 80}}
    readinessProbe: {grpc: {port: 1}, periodSeconds: 3}
    lifecycle: {preStop: {httpGet: {port: 80, path: /bye}}}
  - name: b
    image: "r:5000/x/nginx:1.25"
  - name: c
    image: nginx@sha256:abc
  volumes:
  - name: e
  - {name: s, secret: {secretName: x}}
  - name: p
    projected:
      sources:
      - serviceAccountToken: {path: token}
      - downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}
  - {name: h, hostPath: {path: /x}}
`, `
metadata: {name: p}
spec:
  hostNetwork: true
  serviceAccount: old
  serviceAccountName: old
  restartPolicy: Always
  dnsPolicy: ClusterFirst
  schedulerName: default-scheduler
  terminationGracePeriodSeconds: 30
  enableServiceLinks: true
  securityContext: {}
  containers:
  - name: a
    image: nginx
    imagePullPolicy: Always
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    ports: [{containerPort: 80, hostPort: 80, protocol: TCP}]
    env: [{name: NAME, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}]
    resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 100m, memory: 1Gi}}
    livenessProbe: {httpGet: {port: 80, path: /, scheme: HTTP}, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3}
    readinessProbe: {grpc: {port: 1, service: ""}, timeoutSeconds: 1, periodSeconds: 3, successThreshold: 1, failureThreshold: 3}
    lifecycle: {preStop: {httpGet: {port: 80, path: /bye, scheme: HTTP}}}
  - name: b
    image: "r:5000/x/nginx:1.25"
    imagePullPolicy: IfNotPresent
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    resources: {}
  - name: c
    image: nginx@sha256:abc
    imagePullPolicy: IfNotPresent
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    resources: {}
  volumes:
  - name: e
    emptyDir: {}
  - {name: s, secret: {secretName: x, defaultMode: 420}}
  - name: p
    projected:
      defaultMode: 420
      sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - downwardAPI: {items: [{path: l, fieldRef: {apiVersion: v1, fieldPath: metadata.labels}}]}
  - {name: h, hostPath: {path: /x, type: ""}}
status: {}
`},
		{"pod resources", "", "v1", "pods", `
spec:
  resources: {limits: {cpu: "2", memory: 1Gi}}
  containers:
  - {name: a, image: "x:1", resources: {requests: {cpu: 500m}}}
`, `
metadata: {}
spec:
  restartPolicy: Always
  dnsPolicy: ClusterFirst
  schedulerName: default-scheduler
  terminationGracePeriodSeconds: 30
  enableServiceLinks: true
  securityContext: {}
  resources: {limits: {cpu: "2", memory: 1Gi}, requests: {cpu: 500m, memory: 1Gi}}
  containers:
  - name: a
    image: x:1
    imagePullPolicy: IfNotPresent
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    resources: {requests: {cpu: 500m}}
status: {}
`},
		{"deployment", "apps", "v1", "deployments", `
spec:
  selector: {matchLabels: {a: b}}
  strategy: {rollingUpdate: {maxSurge: 1}}
  template: {metadata: {labels: {a: b}}, spec: {containers: []}}
`, `
metadata: {}
spec:
  replicas: 1
  revisionHistoryLimit: 10
  progressDeadlineSeconds: 600
  selector: {matchLabels: {a: b}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 25%}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers: []
      restartPolicy: Always
      dnsPolicy: ClusterFirst
      schedulerName: default-scheduler
      terminationGracePeriodSeconds: 30
      securityContext: {}
status: {}
`},
		{"statefulset", "apps", "v1", "statefulsets", `
spec:
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: []}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]
`, `
metadata: {}
spec:
  replicas: 1
  revisionHistoryLimit: 10
  podManagementPolicy: OrderedReady
  selector: {matchLabels: {a: b}}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Retain}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers: []
      restartPolicy: Always
      dnsPolicy: ClusterFirst
      schedulerName: default-scheduler
      terminationGracePeriodSeconds: 30
      securityContext: {}
  volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {}, volumeMode: Filesystem}
    status: {phase: Pending}
  serviceName: ""
status: {replicas: 0, availableReplicas: 0}
`},
		{"service", "", "v1", "services", `{spec: {ports: [{port: 80}, {port: 81, targetPort: web, protocol: UDP}]}}`, `
metadata: {}
spec:
  type: ClusterIP
  sessionAffinity: None
  internalTrafficPolicy: Cluster
  ports:
  - {port: 80, targetPort: 80, protocol: TCP}
  - {port: 81, targetPort: web, protocol: UDP}
status: {loadBalancer: {}}
`},
		{"service loadbalancer", "", "v1", "services", `{spec: {type: LoadBalancer, sessionAffinity: ClientIP}}`, `
metadata: {}
spec:
  type: LoadBalancer
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 10800}}
  internalTrafficPolicy: Cluster
  externalTrafficPolicy: Cluster
  allocateLoadBalancerNodePorts: true
status: {loadBalancer: {}}
`},
		{"namespace", "", "v1", "namespaces", `{metadata: {name: web}}`,
			`{metadata: {name: web, labels: {kubernetes.io/metadata.name: web}}, spec: {}, status: {phase: Active}}`},
		{"secret", "", "v1", "secrets", `{}`, `{metadata: {}, type: Opaque}`},
		{"secret as text", "", "v1", "secrets", `{data: {a: b2xk, b: b2xk}, stringData: {a: new, c: new}}`, `{metadata: {}, type: Opaque, data: {a: bmV3, b: b2xk, c: bmV3}}`},
		{"limitrange", "", "v1", "limitranges", `{spec: {limits: [{type: Container, max: {cpu: "2"}, min: {memory: 1Mi}}]}}`, `
metadata: {}
spec:
  limits: [{type: Container, max: {cpu: "2"}, min: {memory: 1Mi}, default: {cpu: "2"}, defaultRequest: {cpu: "2", memory: 1Mi}}]
`},
		{"rolebinding", "rbac.authorization.k8s.io", "v1", "rolebindings", `
roleRef: {kind: Role, name: r}
subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: s, namespace: web}]
`, `
metadata: {}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: u}, {kind: ServiceAccount, name: s, namespace: web}]
`},
		{"load balancer", "", "v1", "services", `
spec: {type: LoadBalancer, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 10.0.0.1}, {hostname: h}, {ip: 10.0.0.2, ipMode: Proxy}]}}
`, `
metadata: {}
spec:
  type: LoadBalancer
  ports: [{port: 80, protocol: TCP, targetPort: 80}]
  sessionAffinity: None
  allocateLoadBalancerNodePorts: true
  internalTrafficPolicy: Cluster
  externalTrafficPolicy: Cluster
status: {loadBalancer: {ingress: [{ip: 10.0.0.1, ipMode: VIP}, {hostname: h}, {ip: 10.0.0.2, ipMode: Proxy}]}}
`},
		{"job", "batch", "v1", "jobs", `{spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [], restartPolicy: Never}}}}`, `
metadata: {labels: {a: b}}
spec:
  completions: 1
  parallelism: 1
  backoffLimit: 6
  completionMode: NonIndexed
  suspend: false
  manualSelector: false
  podReplacementPolicy: TerminatingOrFailed
  template:
    metadata: {labels: {a: b}}
    spec:
      containers: []
      restartPolicy: Never
      dnsPolicy: ClusterFirst
      schedulerName: default-scheduler
      terminationGracePeriodSeconds: 30
      securityContext: {}
status: {}
`},
		{"networkpolicy", "networking.k8s.io", "v1", "networkpolicies", `{spec: {podSelector: {}, egress: [{ports: [{port: 1}]}]}}`,
			`{metadata: {}, spec: {podSelector: {}, egress: [{ports: [{port: 1, protocol: TCP}]}], policyTypes: [Ingress, Egress]}}`},
		{"storageclass", "storage.k8s.io", "v1", "storageclasses", `{provisioner: p}`,
			`{metadata: {}, provisioner: p, reclaimPolicy: Delete, volumeBindingMode: Immediate}`},
	}
	table := New()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := table.ByPath(tt.group, tt.version, tt.resource)
			obj, _, err := table.Decode([]byte(strings.TrimSpace(tt.in)), YAML, r.GroupVersionKind(), Strict)
			if err != nil {
				t.Fatal(err)
			}
			r.Default(obj)
			once, err := EncodeJSON(nil, obj)
			if err != nil {
				t.Fatal(err)
			}
			r.Default(obj)
			twice, err := EncodeJSON(nil, obj)
			if err != nil {
				t.Fatal(err)
			}
			if string(once) != string(twice) {
				t.Errorf("not idempotent:\n%s\n%s", once, twice)
			}
			var got, want map[string]any
			if err := yaml.Unmarshal(once, &got); err != nil {
				t.Fatal(err)
			}
			delete(got, "kind")
			delete(got, "apiVersion")
			if err := yaml.Unmarshal([]byte(tt.out), &want); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// Defaults never panic, whatever is set or left out, and applying them again
// changes nothing.
func TestDefaultsOfUpstreamExamples(t *testing.T) {
	for _, r := range New().Resources() {
		for _, obj := range examples(t, r) {
			r.Default(obj)
			once := obj.DeepCopyObject()
			r.Default(obj)
			if d := cmp.Diff(once, obj); d != "" {
				t.Errorf("%s: not idempotent: %s", r.Kind, d)
			}
		}
	}
}
