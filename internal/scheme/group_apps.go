package scheme

import appsv1 "k8s.io/api/apps/v1"

func appsRows() []*Resource {
	apps := func(r Resource) Resource {
		r.Group, r.Version, r.Namespaced, r.Verbs, r.Prefix = "apps", "v1", true, everyVerb, r.Name
		return r
	}
	all := []string{"all"}
	return []*Resource{
		row[appsv1.ControllerRevision, appsv1.ControllerRevisionList](apps(Resource{
			Kind: "ControllerRevision", Name: "controllerrevisions", Singular: "controllerrevision",
		})),
		row[appsv1.DaemonSet, appsv1.DaemonSetList](apps(Resource{
			Kind: "DaemonSet", Name: "daemonsets", Singular: "daemonset", ShortNames: []string{"ds"},
			Default:    defaulter(defaultDaemonSet),
			Categories: all, Subresources: []Subresource{status()},
		})),
		row[appsv1.Deployment, appsv1.DeploymentList](apps(Resource{
			Kind: "Deployment", Name: "deployments", Singular: "deployment", ShortNames: []string{"deploy"},
			Default:    defaulter(defaultDeployment),
			Categories: all, Subresources: []Subresource{scale(), status()},
		})),
		row[appsv1.ReplicaSet, appsv1.ReplicaSetList](apps(Resource{
			Kind: "ReplicaSet", Name: "replicasets", Singular: "replicaset", ShortNames: []string{"rs"},
			Default:    defaulter(defaultReplicaSet),
			Categories: all, Subresources: []Subresource{scale(), status()},
		})),
		row[appsv1.StatefulSet, appsv1.StatefulSetList](apps(Resource{
			Kind: "StatefulSet", Name: "statefulsets", Singular: "statefulset", ShortNames: []string{"sts"},
			Default:    defaulter(defaultStatefulSet),
			Categories: all, Subresources: []Subresource{scale(), status()},
		})),
	}
}
