"""What a SAM template is read as: intrinsic functions put in, and everything that is left out named."""

from __future__ import annotations

from pathlib import Path

import pytest

from dayfly.cli import sam
from dayfly.cli.errors import Failure

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, Default: dev}
  Seconds: {Type: Number, Default: '9'}
Mappings:
  Sizes: {dev: {memory: 256}, prod: {memory: 1024}}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsDev: !Not [!Condition IsProd]
  Either: !Or [!Condition IsProd, !Equals [a, a]]
Globals:
  Function: {Runtime: python3.12, Timeout: !Ref Seconds, Tracing: Active}
Resources:
  Inline:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub '${AWS::StackName}-${Stage}-inline-${!kept}'
      Handler: index.handler
      InlineCode: 'def handler(event, context): return 1'
      MemorySize: !FindInMap [Sizes, !Ref Stage, memory]
      Description: !If [IsProd, real, !Ref 'AWS::NoValue']
      Environment:
        Variables:
          SECOND: !Select [1, !Split ['-', a-b-c]]
          JOINED: !Join [':', [!Ref Stage, !GetAtt Work.QueueName]]
          QUEUE: {'Fn::GetAtt': Work.Arn}
          EXTRA: !Sub ['${x}/${AWS::Region}', {x: !Ref Work}]
      Policies: [AWSLambdaBasicExecutionRole]
      VpcConfig: {SubnetIds: [!Ref Subnet]}
      Events:
        Web: {Type: HttpApi}
        Work: {Type: SQS, Properties: {Queue: !GetAtt Work.Arn}}
        Far: {Type: SQS, Properties: {Queue: !ImportValue other-queue}}
  Imaged: {Type: AWS::Serverless::Function, Properties: {PackageType: Image, ImageUri: some/image}}
  InS3: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, CodeUri: {Bucket: b, Key: k}}}
  Imported: {Type: AWS::Serverless::Function, Properties: {Handler: !ImportValue shared, CodeUri: src/}}
  NoHandler: {Type: AWS::Serverless::Function, Properties: {CodeUri: src/}}
  OnlyProd: {Type: AWS::Serverless::Function, Condition: IsProd, Properties: {Handler: a.b}}
  OnlyDev: {Type: AWS::SQS::Queue, Condition: IsDev}
  Work: {Type: AWS::SQS::Queue, Properties: {QueueName: work.fifo, FifoQueue: true, RedrivePolicy: {deadLetterTargetArn: !GetAtt OnlyDev.Arn, maxReceiveCount: 3}}}
  Table: {Type: AWS::DynamoDB::Table}
  Broken: {Type: AWS::SQS::Queue, Properties: {QueueName: !Select [5, [a]]}}
Outputs:
  Url: {Value: !Sub 'https://${ServerlessHttpApi}.execute-api'}
"""


def test_a_template_is_read_with_its_functions_put_in_and_told_what_is_left_out(tmp_path: Path) -> None:
    stack = tmp_path / "shop"
    stack.mkdir()
    (stack / "template.yaml").write_text(TEMPLATE)
    plan = sam.read(stack / "template.yaml", {})
    assert list(plan.functions) == ["Inline"]
    inline = plan.functions["Inline"]
    assert inline["FunctionName"] == "shop-dev-inline-${kept}"
    assert (inline["Timeout"], inline["MemorySize"], "Description" in inline) == (9, 256, False)
    assert inline["Environment"]["Variables"] == {
        "SECOND": "b", "JOINED": "dev:work.fifo", "QUEUE": "arn:aws:sqs:us-east-1:000000000000:work.fifo", "EXTRA": "work.fifo/us-east-1",
    }  # fmt: skip
    assert sorted(plan.queues) == ["OnlyDev", "Work"]
    assert plan.queues["Work"]["RedrivePolicy"]["deadLetterTargetArn"] == "arn:aws:sqs:us-east-1:000000000000:OnlyDev"
    assert list(inline["Events"]) == ["Web", "Work"]
    left = "\n".join(plan.left_out)
    for told in (
        "Tracing of Inline", "VpcConfig of Inline", "event Far of Inline: only a deployment tells Fn::ImportValue",
        "Imaged (a function from a container image)", "InS3 (a function whose code is in S3)",
        "Imported (AWS::Serverless::Function): only a deployment tells Fn::ImportValue",
        "NoHandler (AWS::Serverless::Function): only a deployment tells its Handler", "Table (AWS::DynamoDB::Table)",
        "Broken (AWS::SQS::Queue): only a deployment tells Fn::Select",
    ):  # fmt: skip
        assert told in left
    assert "Policies" not in left
    assert sorted(sam.read(stack / "template.yaml", {"Stage": "prod"}).functions) == ["Inline", "OnlyProd"]


@pytest.mark.parametrize(
    "text", ["", "[]", "Resources: []", "Resources: {A: !Ref", "Resources:\n  A: {Type: !Ref X}\n  B: text\n"]
)
def test_what_is_no_template_says_so_or_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "template.yaml").write_text(text)
    try:
        plan = sam.read(tmp_path / "template.yaml", {})
    except Failure:
        return
    assert not plan.functions
