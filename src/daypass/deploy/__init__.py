"""Bring rendered manifests into a repository and a cluster, and start a repository.

`daypass apply`: cluster_state reads the cluster; plan compares it with the config by dry runs; the
user confirms what openings lists; repository commits; apply and remove change the cluster, in the
order of `render.objects`, and apply waits and verifies. The inventory in the cluster records
what was applied, with UIDs: only that is ever removed, and only if the object's managed fields
agree. Each step may fail; a retry continues.

prerequisites provides certificates. init has the files of `daypass init`, also for an EKF
repository. repository writes and commits rendered files.
"""
