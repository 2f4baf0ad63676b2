# What schemathesis cannot think of by itself: a live access token, and names that occur more than once.
import os

import schemathesis

TOKEN = os.environ.get("TOKENVAULT_SCHEMATHESIS_TOKEN", "")
TENANT = os.environ.get("TOKENVAULT_SCHEMATHESIS_TENANT", "")


@schemathesis.hook
def map_body(context, body):
    """Most registrations show the live token, so that jobs come to be; the others show what was thought of."""
    if TOKEN and isinstance(body, dict) and isinstance(body.get("access_token"), str) and len(body) % 4 != 3:
        body["access_token"] = TOKEN
        body.pop("refresh_token", None)
    return body


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """A short job id is one of a few, and a tenant's name is often the tenant's."""
    if isinstance(path_parameters, dict):
        job = path_parameters.get("job_id")
        if isinstance(job, str) and len(job) == 1:
            path_parameters["job_id"] = "job-" + str(ord(job) % 4)
        tenant = path_parameters.get("tenant")
        if TENANT and isinstance(tenant, str) and len(tenant) == 1:
            path_parameters["tenant"] = TENANT
    return path_parameters
