package validate

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

var apiServiceRules = &rules{ // never changed
	create: rule(apiService),
	update: same(apiService),
	subresources: subresources{"status": same(func(e *problems, s *apiregistrationv1.APIService) {
		for i, c := range s.Status.Conditions {
			oneOf(e, statusPath.Child("conditions").Index(i), "status", c.Status, apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionTrue, apiregistrationv1.ConditionUnknown)
		}
	})},
	name: path.ValidatePathSegmentName,
}

func apiService(e *problems, s *apiregistrationv1.APIService) {
	want := s.Spec.Version + "." + s.Spec.Group
	for _, f := range [...]struct{ field, name string }{{"generateName", s.GenerateName}, {"name", s.Name}} {
		if f.name != want && f.name != "" && len(segmentTexts(f.name)) == 0 {
			e.invalid(metadata.Child(f.field), f.name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", want))
		}
	}
	at := field.NewPath("spec")
	if s.Spec.Group == "" && s.Spec.Version != "v1" {
		e.required(at.Child("group"), "only v1 may have an empty group and it better be legacy kube")
	}
	if s.Spec.Group != "" {
		e.check(at, "group", s.Spec.Group, dnsSubdomain)
	}
	e.check(at, "version", s.Spec.Version, validation.IsDNS1035Label)
	if p := s.Spec.GroupPriorityMinimum; p <= 0 || p > 20000 {
		e.invalid(at.Child("groupPriorityMinimum"), p, "must be positive and less than 20000")
	}
	if p := s.Spec.VersionPriority; p <= 0 || p > 1000 {
		e.invalid(at.Child("versionPriority"), p, "must be positive and less than 1000")
	}
	r := s.Spec.Service
	if r == nil {
		if len(s.Spec.CABundle) != 0 {
			e.invalid(at.Child("caBundle"), fmt.Sprintf("%d bytes", len(s.Spec.CABundle)), "local APIServices may not have a caBundle")
		}
		if s.Spec.InsecureSkipTLSVerify {
			e.invalid(at.Child("insecureSkipTLSVerify"), s.Spec.InsecureSkipTLSVerify, "local APIServices may not have insecureSkipTLSVerify")
		}
		return
	}
	e.given(at.Child("service"), "namespace", r.Namespace)
	e.given(at.Child("service"), "name", r.Name)
	if r.Port != nil {
		for _, text := range validation.IsValidPortNum(int(*r.Port)) {
			e.invalid(at.Child("service", "port"), *r.Port, "port is not valid: "+text)
		}
	}
	if s.Spec.InsecureSkipTLSVerify && len(s.Spec.CABundle) > 0 {
		e.invalid(at.Child("insecureSkipTLSVerify"), s.Spec.InsecureSkipTLSVerify, "may not be true if caBundle is present")
	}
}
