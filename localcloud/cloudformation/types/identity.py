"""IAM roles and policies, KMS keys."""

import json
from functools import partial

from localcloud.cloudformation.types.base import Context, Made, Properties, ResourceType, api, ignoring
from localcloud.cloudformation.types.properties import TAGS, tree

GONE = {"NoSuchEntity"}


def _role(context: Context, p: Properties) -> Made:
    iam = context.clients("iam")
    name = p.get("RoleName") or context.name(64)
    optional = {k: p[k] for k in ("Description", "Path", "PermissionsBoundary", "Tags") if k in p}
    limits = {"MaxSessionDuration": int(p["MaxSessionDuration"])} if "MaxSessionDuration" in p else {}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(p["AssumeRolePolicyDocument"]), **optional, **limits)["Role"]
    context.begun.append(name)
    _configure_role(context, name, {}, p)
    return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


def _configure_role(context: Context, name: str, old: Properties, p: Properties) -> None:
    iam = context.clients("iam")
    inline = {policy["PolicyName"]: policy["PolicyDocument"] for policy in p.get("Policies", [])}
    for policy, document in inline.items():
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
    for policy in {before["PolicyName"] for before in old.get("Policies", [])} - set(inline):
        ignoring(GONE, partial(iam.delete_role_policy, RoleName=name, PolicyName=policy))
    managed, before = set(p.get("ManagedPolicyArns", [])), set(old.get("ManagedPolicyArns", []))
    for arn in managed - before:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for arn in before - managed:
        ignoring(GONE, partial(iam.detach_role_policy, RoleName=name, PolicyArn=arn))


def _update_role(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    iam, name = context.clients("iam"), made.physical_id
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(p["AssumeRolePolicyDocument"]))
    if p.get("Description") != old.get("Description"):
        iam.update_role(RoleName=name, Description=p.get("Description", ""))
    if gone := {tag["Key"] for tag in old.get("Tags", [])} - {tag["Key"] for tag in p.get("Tags", [])}:
        iam.untag_role(RoleName=name, TagKeys=sorted(gone))
    if p.get("Tags"):
        iam.tag_role(RoleName=name, Tags=p["Tags"])
    _configure_role(context, made.physical_id, old, p)
    return made


def _delete_role(context: Context, name: str, p: Properties) -> None:
    iam = context.clients("iam")
    for policy in p.get("Policies", []):
        ignoring(GONE, partial(iam.delete_role_policy, RoleName=name, PolicyName=policy["PolicyName"]))
    for arn in p.get("ManagedPolicyArns", []):
        ignoring(GONE, partial(iam.detach_role_policy, RoleName=name, PolicyArn=arn))
    ignoring(GONE, lambda: iam.delete_role(RoleName=name))


def _policy(context: Context, p: Properties) -> Made:
    for role in p.get("Roles", []):
        context.clients("iam").put_role_policy(RoleName=role, PolicyName=p["PolicyName"], PolicyDocument=json.dumps(p["PolicyDocument"]))
    return Made(p["PolicyName"])


def _update_policy(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    _policy(context, p)
    _detach(context, old, set(old.get("Roles", [])) - set(p.get("Roles", [])))
    return made


def _detach(context: Context, p: Properties, roles: set[str]) -> None:
    iam = context.clients("iam")
    for role in roles:
        ignoring(GONE, partial(iam.delete_role_policy, RoleName=role, PolicyName=p["PolicyName"]))


def _managed_policy(context: Context, p: Properties) -> Made:
    iam = context.clients("iam")
    name = p.get("ManagedPolicyName") or context.name(128)
    optional = {key: p[key] for key in ("Description", "Path") if key in p}
    arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(p["PolicyDocument"]), **optional)["Policy"]["Arn"]
    context.begun.append(arn)
    for role in p.get("Roles", []):
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    return Made(arn, {"PolicyArn": arn})


def _delete_managed_policy(context: Context, arn: str, p: Properties) -> None:
    iam = context.clients("iam")
    for role in p.get("Roles", []):
        ignoring(GONE, partial(iam.detach_role_policy, RoleName=role, PolicyArn=arn))
    ignoring(GONE, lambda: iam.delete_policy(PolicyArn=arn))


def _key(context: Context, p: Properties) -> Made:
    kms = context.clients("kms")
    key = kms.create_key(Policy=json.dumps(p["KeyPolicy"]), Description=p.get("Description", ""))["KeyMetadata"]
    context.begun.append(key["KeyId"])
    if p.get("EnableKeyRotation"):
        kms.enable_key_rotation(KeyId=key["KeyId"])
    return Made(key["KeyId"], {"Arn": key["Arn"], "KeyId": key["KeyId"]})


def _update_key(context: Context, made: Made, _: Properties, p: Properties) -> Made:
    context.clients("kms").put_key_policy(KeyId=made.physical_id, PolicyName="default", Policy=json.dumps(p["KeyPolicy"]))
    return made


TYPES = (
    ResourceType(
        "AWS::KMS::Key",
        tree("Description", "EnableKeyRotation", "KeyPolicy"),
        _key,
        lambda context, key, p: ignoring(
            {"NotFoundException"}, lambda: context.clients("kms").schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        ),
        _update_key,
        updates=frozenset({"KeyPolicy"}),
        removes=frozenset(),
    ),
    api(
        "AWS::KMS::Alias",
        "kms",
        "CreateAlias",
        made=lambda p, r: Made(p["AliasName"]),
        replaces=frozenset({"AliasName"}),
        update="UpdateAlias",
        delete=lambda context, name, p: ignoring({"NotFoundException"}, lambda: context.clients("kms").delete_alias(AliasName=name)),
    ),
    ResourceType(
        "AWS::IAM::Role",
        tree(
            "AssumeRolePolicyDocument",
            "Description",
            "ManagedPolicyArns",
            "MaxSessionDuration",
            "Path",
            "PermissionsBoundary",
            "Policies.PolicyDocument",
            "Policies.PolicyName",
            "RoleName",
            *TAGS,
        ),
        _role,
        _delete_role,
        _update_role,
        frozenset({"RoleName", "Path"}),
        updates=frozenset({"AssumeRolePolicyDocument", "Description", "ManagedPolicyArns", "Policies", "Tags"}),
        removes=frozenset({"Description", "ManagedPolicyArns", "Policies", "Tags"}),
    ),
    ResourceType(
        "AWS::IAM::Policy",
        tree("PolicyDocument", "PolicyName", "Roles"),
        _policy,
        lambda context, name, p: _detach(context, p, set(p.get("Roles", []))),
        _update_policy,
        frozenset({"PolicyName"}),
    ),
    ResourceType(
        "AWS::IAM::ManagedPolicy",
        tree("Description", "ManagedPolicyName", "Path", "PolicyDocument", "Roles"),
        _managed_policy,
        _delete_managed_policy,
    ),
)
