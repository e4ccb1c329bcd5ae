package scheme

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// The kinds of these groups are questions: created, answered, never stored.

func authenticationRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Version, r.Verbs = "authentication.k8s.io", "v1", createOnly
		return r
	}
	return []*Resource{
		single[authenticationv1.SelfSubjectReview](in(Resource{
			Kind: "SelfSubjectReview", Name: "selfsubjectreviews", Singular: "selfsubjectreview",
		})),
		single[authenticationv1.TokenReview](in(Resource{
			Kind: "TokenReview", Name: "tokenreviews", Singular: "tokenreview",
		})),
	}
}

func authorizationRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Version, r.Verbs = "authorization.k8s.io", "v1", createOnly
		return r
	}
	return []*Resource{
		single[authorizationv1.LocalSubjectAccessReview](in(Resource{
			Kind: "LocalSubjectAccessReview", Name: "localsubjectaccessreviews", Singular: "localsubjectaccessreview",
			Namespaced: true,
		})),
		single[authorizationv1.SelfSubjectAccessReview](in(Resource{
			Kind: "SelfSubjectAccessReview", Name: "selfsubjectaccessreviews", Singular: "selfsubjectaccessreview",
		})),
		single[authorizationv1.SelfSubjectRulesReview](in(Resource{
			Kind: "SelfSubjectRulesReview", Name: "selfsubjectrulesreviews", Singular: "selfsubjectrulesreview",
		})),
		single[authorizationv1.SubjectAccessReview](in(Resource{
			Kind: "SubjectAccessReview", Name: "subjectaccessreviews", Singular: "subjectaccessreview",
		})),
	}
}
